//! Alerts (RFC 5246 §7.2, RFC 8446 §6): how a connection ends, and why.

use std::fmt;

/// What an alert says (RFC 8446 §6): the number on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AlertDescription(pub u8);

macro_rules! alerts {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl AlertDescription {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Self = Self($value);)*
        }

        impl fmt::Debug for AlertDescription {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($value => f.write_str($text),)*
                    other => write!(f, "alert({other})"),
                }
            }
        }
    };
}

alerts! {
    CLOSE_NOTIFY = 0, "close_notify";
    UNEXPECTED_MESSAGE = 10, "unexpected_message";
    BAD_RECORD_MAC = 20, "bad_record_mac";
    HANDSHAKE_FAILURE = 40, "handshake_failure";
    BAD_CERTIFICATE = 42, "bad_certificate";
    UNSUPPORTED_CERTIFICATE = 43, "unsupported_certificate";
    CERTIFICATE_EXPIRED = 45, "certificate_expired";
    CERTIFICATE_UNKNOWN = 46, "certificate_unknown";
    ILLEGAL_PARAMETER = 47, "illegal_parameter";
    UNKNOWN_CA = 48, "unknown_ca";
    ACCESS_DENIED = 49, "access_denied";
    DECODE_ERROR = 50, "decode_error";
    DECRYPT_ERROR = 51, "decrypt_error";
    PROTOCOL_VERSION = 70, "protocol_version";
    INSUFFICIENT_SECURITY = 71, "insufficient_security";
    INTERNAL_ERROR = 80, "internal_error";
    USER_CANCELED = 90, "user_canceled";
    NO_RENEGOTIATION = 100, "no_renegotiation";
    MISSING_EXTENSION = 109, "missing_extension";
    UNSUPPORTED_EXTENSION = 110, "unsupported_extension";
    CERTIFICATE_REQUIRED = 116, "certificate_required";
}

/// One alert record (RFC 8446 §6): two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    pub(crate) fatal: bool,
    pub(crate) description: AlertDescription,
}

impl Alert {
    pub(crate) fn close_notify() -> Self {
        Self {
            fatal: false,
            description: AlertDescription::CLOSE_NOTIFY,
        }
    }

    pub(crate) fn warning(description: AlertDescription) -> Self {
        Self {
            fatal: false,
            description,
        }
    }

    pub(crate) fn fatal(description: AlertDescription) -> Self {
        Self {
            fatal: true,
            description,
        }
    }

    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let &[level @ (1 | 2), description] = body else {
            return None;
        };
        Some(Self {
            fatal: level == 2,
            description: AlertDescription(description),
        })
    }

    pub(crate) fn bytes(self) -> [u8; 2] {
        [if self.fatal { 2 } else { 1 }, self.description.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_round_trip_and_odd_ones_are_refused() {
        for alert in [Alert::close_notify(), Alert::fatal(AlertDescription(200))] {
            assert_eq!(Alert::parse(&alert.bytes()), Some(alert));
        }
        for bad in [&[][..], &[1], &[0, 0], &[3, 40], &[2, 40, 0]] {
            assert_eq!(Alert::parse(bad), None, "{bad:?}");
        }
    }
}
