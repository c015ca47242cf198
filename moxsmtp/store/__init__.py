"""Where mail is kept so that nothing acknowledged is lost."""
