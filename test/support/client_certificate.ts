/**
 * A client certificate for "alice" of the group "ops". Made once with openssl, good for a hundred years, and worth nothing
 * outside of a test.
 *
 * @module
 */
export const CLIENT_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBNjCB3QIUd3ZY8Jc7pdUFAm9x/CaLzvZP2u8wCgYIKoZIzj0EAwIwHDEaMBgG
A1UEAwwRcmRtYS10ZXN0LWNsaWVudHMwIBcNMjYxMTMwMTM0NzU2WhgPMjEyNjEx
MDYxMzQ3NTZaMB4xDDAKBgNVBAoMA29wczEOMAwGA1UEAwwFYWxpY2UwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAASvEId0Upt9RAHw4tHCMX8l/Ufs6R3vBL+khkhZ
WYJ1xlIeTrMme0tulNJ6hT3pL1dlOqh9hJH8X1edYslznURsMAoGCCqGSM49BAMC
A0gAMEUCIAfoKqqA8VC3XH4WhczkfTGE4CBBR1VVp2hHl16q1u1HAiEA5xe3hw1G
ngTa3BX67Z/t1uPjoYAB8i0+WfZL8h5vemw=
-----END CERTIFICATE-----
`;

export const CLIENT_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4KQoPDJ7oYtRWgZe
9BkzWiWULWU9HlPjRuPx4KQ/8iWhRANCAASvEId0Upt9RAHw4tHCMX8l/Ufs6R3v
BL+khkhZWYJ1xlIeTrMme0tulNJ6hT3pL1dlOqh9hJH8X1edYslznURs
-----END PRIVATE KEY-----
`;
