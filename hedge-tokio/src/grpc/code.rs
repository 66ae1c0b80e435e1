//! The status codes of gRPC.

use core::fmt;
use core::str::FromStr;

macro_rules! codes {
    ($($number:literal $name:ident $text:literal,)*) => {
        /// A status code of gRPC.
        ///
        /// ```
        /// use hedge_tokio::grpc::Code;
        ///
        /// assert_eq!("UNAVAILABLE".parse(), Ok(Code::Unavailable));
        /// assert_eq!(Code::from_number(14), Some(Code::Unavailable));
        /// assert_eq!(Code::Unavailable.to_string(), "UNAVAILABLE");
        /// ```
        #[allow(missing_docs)] // The names say it.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Code {
            $($name = $number,)*
        }

        impl Code {
            const ALL: [Self; 17] = [$(Self::$name,)*];

            /// Returns the name of the code, such as `DEADLINE_EXCEEDED`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    0 Ok "OK",
    1 Cancelled "CANCELLED",
    2 Unknown "UNKNOWN",
    3 InvalidArgument "INVALID_ARGUMENT",
    4 DeadlineExceeded "DEADLINE_EXCEEDED",
    5 NotFound "NOT_FOUND",
    6 AlreadyExists "ALREADY_EXISTS",
    7 PermissionDenied "PERMISSION_DENIED",
    8 ResourceExhausted "RESOURCE_EXHAUSTED",
    9 FailedPrecondition "FAILED_PRECONDITION",
    10 Aborted "ABORTED",
    11 OutOfRange "OUT_OF_RANGE",
    12 Unimplemented "UNIMPLEMENTED",
    13 Internal "INTERNAL",
    14 Unavailable "UNAVAILABLE",
    15 DataLoss "DATA_LOSS",
    16 Unauthenticated "UNAUTHENTICATED",
}

impl Code {
    /// Returns the code with this number; `None` if there is none.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Returns the code for a response of HTTP that has no status of gRPC.
    pub(super) fn from_http(status: http::StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads the name of a code, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        let mut codes = Self::ALL.into_iter();
        codes
            .find(|code| code.as_str().eq_ignore_ascii_case(name))
            .ok_or(UnknownCode)
    }
}

/// The error of a name that is no status code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no status code of gRPC has this name")
    }
}

impl core::error::Error for UnknownCode {}

/// A set of codes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Codes(u32);

impl Codes {
    pub(super) const fn with(self, code: Code) -> Self {
        Self(self.0 | 1 << code as u32)
    }

    pub(super) const fn contains(self, code: Code) -> bool {
        self.0 >> code as u32 & 1 == 1
    }
}

impl FromIterator<Code> for Codes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        codes.into_iter().fold(Self::default(), Self::with)
    }
}
