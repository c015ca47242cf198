"""
Keys that the tests sign with, made by openssl's command line, and the records
of their public halves.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = [
    "EC",
    "ED25519",
    "ED25519_PUBLIC",
    "RSA_768",
    "RSA_1024",
    "RSA_ENCRYPTED",
    "RSA_PKCS1",
    "RSA_PKCS8",
    "RSA_PUBLIC",
    "RSA_PUBLIC_PKCS1",
    "rsa_public",
]  # fmt: skip


def rsa_public(bits: int, exponent: int = 65537) -> bytes:
    """The DER of a public key of that length; nobody has its private half."""
    key = RSAPublicNumbers(exponent, 2 ** (bits - 1) + 12345).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


#: openssl genrsa -traditional 2048
RSA_PKCS1: Final = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEAoiq607tzp6n5YKifqlPGkgSsrux7YCOoKdxgZl/h2VxRr22d
bzH5zSDq4GjP6KxF19lGeSwk6xFVkq/jgmh/4sF4eUtPFt2gCOGpsn0y1VrHsa7C
vrpvTb94nebY4Pdvb7h14cBMcT4Ug5WbkB45ulbt2zyAFfmLJu3HaRAy5okJm6sh
MV1CwRJwnL/kL48EvfNTD+bD1JaUMQI9ZsXopefKsxN9qONjQZFZXajNXtl1Eg5M
8t1XfeaaodUfFquQB/6jKlLbc9JEUw7pla0yFFVH4/vX8KzL/QCrJWv/ymH3AyYB
4acEMldSxcqBDZiKPWdcgYCYmQVyGSPKYu3sJQIDAQABAoIBAAUVbtbtZPJIH1O6
5Yp65to0AE/ZhQKeC4sIaBM9hUCBpuPnfUx7lheqpQJU9tOV9viNzKpGyn9+Ax8+
mVTAvuWWaBbxV/DhEL/Gh0Hbr+jFWEZHMr607IFU88yLbJgc2ab4cuWZWCwipJT9
byuE7w1a5Uj+rAtET+rwAFTYV6gnbdRO5qSAaKv1Fwqa/JXAoXRzDg/fUROimKlH
qy7nO5gxmHKdSBSrGdMR6nOFpOF2IuhSHFXbIr+HL8A8eLnlcuphvPB2cOp3Om6W
o+vSQ3QrZBNdq0+fsMtwkQg7E2cLY5SXDnsbB03rpEO1G9jCZ2l+vgb2gk0jX3ki
llDE5QECgYEA1+oKcUvnJwIlfq8yf1G2nDQROGvFgSKUWmDBSGyMK0JL2FinADcb
v+cyygIsR0FUJcZQV760a3ddo8jAMLHQ8AceCDvMRay9L55MpMcH47W00WzdrTze
Tctj2t9j8FeZ1CFj1vvCrhIWepXD8W2rjoDsUQUZgDUuw4gBIaISUaUCgYEAwEYw
nIhQJQumO2uWF7TiyXiP3Rh2nviTWmm5tAytb3VHgm6kuYKULWS+cMZSqzv8AwsR
6/y25Va55ikcyTdKC371P+IUhlab2nnvv4wlbXeBOAGlxtuOJRXX0Tu8+DHTlZU7
9avzHQBMiMVhRDFuvNLT8ooazeuixS6A3cpdKIECgYBQ6Rx2rnn1zUEdwyuKOKXU
zVIysXg21y1+3MkxibPRNivT7AzQ8NXOSSZoOv46yYluCm3rI8TajMWjbcRPuyLP
/+rKLRZ0ebH/mTOhgBA9zcbvv/smQywPPQuzZok99KXpr4WJd5jRwGd6Eot1+qIS
ac+k4ONYfxWCIoJCB0kUHQKBgF/K2G80LpG2UxRpjnazJQXxLeOeS4L6Hxe9csq0
Qjg0evMNwr21w7M17Pdsp0UudmjhvAURe+GYqrdzpibNh/NgRjmUnlsrjSx08bBB
12fJUTShBYGkYxYw4rwYghY5ZMuydRP5nf7F5luB0urRofUrKHM+wQn0qryIZaWa
K32BAoGBANFts8r2hGtaK4Zl7uVM4F5ZW103kATqMVzxMYts34I9VWIAgyEBxmS+
OYAVsO1ziqw+ARmyqU6G2KBA/txcpxhDztXcJ82KUh+esBnG9BqmMadhNsuBQQp+
MBdibnTEFStK6682xTWcV2VZcDF9sa2R11h8wzIFrZcgNEhicmkP
-----END RSA PRIVATE KEY-----
"""

#: The same key: openssl pkcs8 -topk8 -nocrypt
RSA_PKCS8: Final = b"""\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCiKrrTu3Onqflg
qJ+qU8aSBKyu7HtgI6gp3GBmX+HZXFGvbZ1vMfnNIOrgaM/orEXX2UZ5LCTrEVWS
r+OCaH/iwXh5S08W3aAI4amyfTLVWsexrsK+um9Nv3id5tjg929vuHXhwExxPhSD
lZuQHjm6Vu3bPIAV+Ysm7cdpEDLmiQmbqyExXULBEnCcv+QvjwS981MP5sPUlpQx
Aj1mxeil58qzE32o42NBkVldqM1e2XUSDkzy3Vd95pqh1R8Wq5AH/qMqUttz0kRT
DumVrTIUVUfj+9fwrMv9AKsla//KYfcDJgHhpwQyV1LFyoENmIo9Z1yBgJiZBXIZ
I8pi7ewlAgMBAAECggEABRVu1u1k8kgfU7rlinrm2jQAT9mFAp4LiwhoEz2FQIGm
4+d9THuWF6qlAlT205X2+I3MqkbKf34DHz6ZVMC+5ZZoFvFX8OEQv8aHQduv6MVY
RkcyvrTsgVTzzItsmBzZpvhy5ZlYLCKklP1vK4TvDVrlSP6sC0RP6vAAVNhXqCdt
1E7mpIBoq/UXCpr8lcChdHMOD99RE6KYqUerLuc7mDGYcp1IFKsZ0xHqc4Wk4XYi
6FIcVdsiv4cvwDx4ueVy6mG88HZw6nc6bpaj69JDdCtkE12rT5+wy3CRCDsTZwtj
lJcOexsHTeukQ7Ub2MJnaX6+BvaCTSNfeSKWUMTlAQKBgQDX6gpxS+cnAiV+rzJ/
UbacNBE4a8WBIpRaYMFIbIwrQkvYWKcANxu/5zLKAixHQVQlxlBXvrRrd12jyMAw
sdDwBx4IO8xFrL0vnkykxwfjtbTRbN2tPN5Ny2Pa32PwV5nUIWPW+8KuEhZ6lcPx
bauOgOxRBRmANS7DiAEhohJRpQKBgQDARjCciFAlC6Y7a5YXtOLJeI/dGHae+JNa
abm0DK1vdUeCbqS5gpQtZL5wxlKrO/wDCxHr/LblVrnmKRzJN0oLfvU/4hSGVpva
ee+/jCVtd4E4AaXG244lFdfRO7z4MdOVlTv1q/MdAEyIxWFEMW680tPyihrN66LF
LoDdyl0ogQKBgFDpHHauefXNQR3DK4o4pdTNUjKxeDbXLX7cyTGJs9E2K9PsDNDw
1c5JJmg6/jrJiW4KbesjxNqMxaNtxE+7Is//6sotFnR5sf+ZM6GAED3Nxu+/+yZD
LA89C7NmiT30pemvhYl3mNHAZ3oSi3X6ohJpz6Tg41h/FYIigkIHSRQdAoGAX8rY
bzQukbZTFGmOdrMlBfEt455LgvofF71yyrRCODR68w3CvbXDszXs92ynRS52aOG8
BRF74Ziqt3OmJs2H82BGOZSeWyuNLHTxsEHXZ8lRNKEFgaRjFjDivBiCFjlky7J1
E/md/sXmW4HS6tGh9Ssocz7BCfSqvIhlpZorfYECgYEA0W2zyvaEa1orhmXu5Uzg
XllbXTeQBOoxXPExi2zfgj1VYgCDIQHGZL45gBWw7XOKrD4BGbKpTobYoED+3Fyn
GEPO1dwnzYpSH56wGcb0GqYxp2E2y4FBCn4wF2JudMQVK0rrrzbFNZxXZVlwMX2x
rZHXWHzDMgWtlyA0SGJyaQ8=
-----END PRIVATE KEY-----
"""

#: The same key, with a passphrase: openssl pkcs8 -topk8
RSA_ENCRYPTED: Final = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQwwHAQI6IwPzlnoy0QCAggA
MAwGCCqGSIb3DQIJBQAwHQYJYIZIAWUDBAEqBBC0MMyzh/oRZWYjpe0kvyQVBIIE
0HGtXhWJfPhDAQyTBMEIVtuAdMiVK8gIEe+DUDbM8FyjRxoWd8rP/y2Ke2MGIurF
T4t3M0DKJV/fgYLzppNlPH/z7UEsXV8aQUKELSqFrcb1t1ZBbPPDJ8Qe069PD4g1
GAX9TBgMir5YZDnFTS4imCxsy3ZpG9n7VnZx1mgCfPV8h0p03juyxRVKD90PSayE
uK/uN+tCCyU25Q6ZPhbRNZaYOETJvnlf4mHjYAHwj8+FE4uSQArGP4+29RFgWgSh
ygwvuF7aq61H62vFMiKDHED6PvXraHv6AK+2TWJ59yc3Y0uEUDLEMqyJZ/Ly9bN+
zSobD8x7q+s96dNQOlCCyCAlewi0C/57wtRWIw/BUZldkeqeOikSM4BwV7SXaLnl
T2H+Nd7d+rXsSZJk/YcK3IKpuZEIXN8S9OcjGcNLmoR71hX+G20qeuERDIVJ3FqK
ubaHO7GUKI/FtantgnYsXMPtMmMjlxTHOfWoB63ighZrXFMWHkfhw7Za4MoiwKbf
f9cd4dmxafLPLyWiXNZAhmBiMtLJVEvzeMv4JXH0zWzFdnc6RQByhMDt02w41KCr
InMt+HTv88gkjYg6VrMLcgTFRdp/cbQVHjchBFedTc1qp34HznrXJs7cXThqiwvP
2f1VwQpq9USZE0c16dYgucw1aRzzMfTuQFHBFOkJAKRM/OiJP9srNasw+u4uJqfW
MbikBexHi+luCjwsLtZH2X2W748RWhKwMCM9LM6DTvCcfuYEu2RkJmOA+7nBC0WH
2UHdk46LkTA6b1kcb2d1qHbuiRQxlcd2moXUpXaBqwhv36z1suR7z0iKYNnhlX8j
I4weCr38ki8bU900EEt74VG9SKDIQatHHwxgIIniQXRRJK8bm5bVwkn0bs3UOX7I
7pqaeliDY8z2J2w/0nbvsclZSOkSCW+oUg4kVhJqpE+fz8u3tOVpWrmF0Qjxof3T
uB3CNmiCB6pTARXFRhsrXgsbYx1uPEquiB33awYQExWUOGM9s3MX+qCOFbz/iVbq
FQZ0BjWFIntaYeqZR9ave5PtDELcxP94L/0psWsj4EPE5Bo6nlVz07obAIGb8h5v
hdHMoJsi5hYD2+gwbTC+yKt+sGWEPQg7f1L0LhEUjbjgSQrhO/JauGjCawzlttWK
/+P9mqOLRNjiF0qKGbRxAUkFbBlQw5Ez1nlawCaxqXK6bFYV4ywtMmPjaye4L7nz
V8YsTYHKefOMhSO+qxSBk275FzKm6PeJwaqN36UP4+5NTns4ba8graz1aIEu3iSh
UdcdbjW5hEGo1xXULxVIeV/8TWRMnj6VzrflSq+IGyZ0J7c/8eer5KPurFFXSADa
HV1DQIXyBcvNgMN71Quy2j+2AZHOn1nUNgItmPpPEC7w0ekpX8eKygdFWlFmruKv
KLKVdymzTwmU5qRNMg3gKgFEiztjSH237O00hDPVKlBLaI5CB8kcA3oJAzg2mca2
4KeDXoev6suZp7lsMrXB7q9xPVAUizePIciTOfMX4kGmPjFowa/CYawZrI7OD6vO
JI656aSNIdEZ3+7YnLA1VL9uDV4o8Wm5av6PcWzDbaithvejxOGIR1TQnoz+2MIS
sJGQOL5HY3tZCAC3Q+LuMpq1Ahb4HCjEQZOk7IOg0tGY
-----END ENCRYPTED PRIVATE KEY-----
"""

#: openssl genrsa 1024
RSA_1024: Final = b"""\
-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAMNk4Ibqk18MwlSl
5pFNJKXxJfD52QOgbOIHT+3GacCag9IVPayc7CUGz4Sdn6iALPPd+q9xykrBPvKj
ZluAGAcyQo7WdWrPeU/xFzEh3BLEGR1zS6Nl5aLgATK/EUULoRqKTw1ehza4fhEY
xRc++w/7964yTm8E4WqsBF3ZijXrAgMBAAECgYAltMbbYlM0KXsq6KT470EeQM4I
lb56Q7AfYjfbc8meoHLFzNGNCO9NKeZL+jsAQlPqb7DbwILAMFCcdEnhaHO6QV9r
ad/7E/Pl+8y6awCjwkZqscP50osoLPj7ipu0VncpTBrrSdPKvMBVZEznvkNHnj+N
GOXFlVVAhwW0cubvWQJBAOpimok+T1314l8dvu9vmHhYIvKWFYMhQHKfnpFPOe0U
8+XUfe93UwI2zElM/TeYZFWWOPjYJveDn2DGNempE30CQQDVacQPIA11Ix46VSNC
QHTP48ZqocQVT8vnzSJYpU0LPyzz3QJaQHBC23o8gazcT2Hgp2MJwSBgOFQ+1Gw4
mduHAkEA3bbMjEre9PjlXChdN02PIzfsRyFl1BceSc9oRfh1ySjq1lu9jUqIwS1o
7WXgmjiToMprtilyIuzlVLvqv89qWQJAAcIpV2aQNdLgQOLKs5UMYVojHGXQ08wg
hfxuuAREqj8PA8NibZPyWNquGymGXxpYWB2I91+cAK72Ir5lVeIOqQJBAJMmrPMj
4eUhc+0nqo5yfW4wG6auwim7OSZdQBxdw9aFaaenmPV2/4aGMt8e48+1vv6w+5rf
sf0XVu4iTjDg87Y=
-----END PRIVATE KEY-----
"""

#: openssl genrsa -traditional 768
RSA_768: Final = b"""\
-----BEGIN RSA PRIVATE KEY-----
MIIBygIBAAJhALs8mucj4DKNXSunhsYLVd7N7o8xeBO21OShDsWsaNBKcH6VpbKi
PRIbu/+wNTm8k3ly2ECKNVZjjZR5H+B2MBcypDcf4u44Cvz1X1Z4o49YUMrX+BZY
xr6jDIC7KhPwKwIDAQABAmEAhHozF8v4e4wuGg8kesfWcBjA7CwSS9CW/VU/gHmm
h4nD4qy7WpMUJtXcxOLGJh3X+6ZFCcX4c8KBluC87qXcOD275UueZGT9VWuncXZ+
bTV1MhAz+Pqs7Zraw5qdAG3BAjEA7pgKYzD8Cg+yMquLgVOV8xOi/pNpuxUYS/bH
Wx9Qdk8SlMeeH4p32ckf3SGhL60bAjEAyOVsIpAZdKKe1UvuDhio7N584aG689lv
NJrtXx8R0kVfmovDcCv8XgjFnY1oXkoxAjAu+JOi73PO70QfoZH3ReNRVV5TS+YW
xJJh8hVRJRsMD4kS7TF9+B6cK3IwcHxxDF0CMGiQORNYS1eQ2PkN907w+OOo/fj2
k/ceAiqwRMKQylbWcudevY+h5U4QZMMXee4x0QIwS9iGmo1d0GF8r+hyNINb65X3
gOQfXgjcnSEI8Luni3+IYm/2JLnOOXLanrCu+udg
-----END RSA PRIVATE KEY-----
"""

#: openssl genpkey -algorithm ed25519
ED25519: Final = b"""\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICkkQSgFmNLb+x2J0SgsoYA+DVfRdj3oqGoMQUpxxgZp
-----END PRIVATE KEY-----
"""

#: openssl ecparam -genkey -name prime256v1
EC: Final = b"""\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIGUEnPhS3W8JhudkuFWiC5aesNd622krftQJyaiKBkk8oAoGCCqGSM49
AwEHoUQDQgAEOgPJPOkEgNAay0lgH+5PaYHYTL2N366K4bxWNpUos9oanMKESIh9
eDMh+GETWezf/1PNyz+fo0pwT0RcZl3yVA==
-----END EC PRIVATE KEY-----
"""

#: Of the RSA keys of 2048 bits: openssl rsa -pubout -outform DER | base64
RSA_PUBLIC: Final = (
    b"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoiq607tzp6n5YKifqlPGkgSsrux7YCOo"
    b"KdxgZl/h2VxRr22dbzH5zSDq4GjP6KxF19lGeSwk6xFVkq/jgmh/4sF4eUtPFt2gCOGpsn0y1VrH"
    b"sa7CvrpvTb94nebY4Pdvb7h14cBMcT4Ug5WbkB45ulbt2zyAFfmLJu3HaRAy5okJm6shMV1CwRJw"
    b"nL/kL48EvfNTD+bD1JaUMQI9ZsXopefKsxN9qONjQZFZXajNXtl1Eg5M8t1XfeaaodUfFquQB/6j"
    b"KlLbc9JEUw7pla0yFFVH4/vX8KzL/QCrJWv/ymH3AyYB4acEMldSxcqBDZiKPWdcgYCYmQVyGSPK"
    b"Yu3sJQIDAQAB"
)

#: The same: openssl rsa -RSAPublicKey_out -outform DER | base64
RSA_PUBLIC_PKCS1: Final = (
    b"MIIBCgKCAQEAoiq607tzp6n5YKifqlPGkgSsrux7YCOoKdxgZl/h2VxRr22dbzH5zSDq4GjP6KxF"
    b"19lGeSwk6xFVkq/jgmh/4sF4eUtPFt2gCOGpsn0y1VrHsa7CvrpvTb94nebY4Pdvb7h14cBMcT4U"
    b"g5WbkB45ulbt2zyAFfmLJu3HaRAy5okJm6shMV1CwRJwnL/kL48EvfNTD+bD1JaUMQI9ZsXopefK"
    b"sxN9qONjQZFZXajNXtl1Eg5M8t1XfeaaodUfFquQB/6jKlLbc9JEUw7pla0yFFVH4/vX8KzL/QCr"
    b"JWv/ymH3AyYB4acEMldSxcqBDZiKPWdcgYCYmQVyGSPKYu3sJQIDAQAB"
)

#: Of the Ed25519 key: openssl pkey -pubout -outform DER | tail -c 32 | base64
ED25519_PUBLIC: Final = b"Xp9zZh53ynvwACZByExS/l0joMFcYWs6dFetS0gRcY4="
