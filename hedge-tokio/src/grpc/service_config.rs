//! Service configs of gRPC, as JSON.

use core::fmt;
use core::time::Duration;

use serde_json::Value;

use super::Code;
use super::code::Codes;

/// One `methodConfig`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MethodConfig {
    /// Services and their methods, in the form of a path: `/service/method`, `/service/` or `/`.
    pub(super) paths: Vec<String>,
    /// The `hedgingPolicy`; `None` if the methods must not be hedged.
    pub(super) hedging: Option<Hedging>,
}

/// A `hedgingPolicy`, and the `timeout` of its `methodConfig`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hedging {
    pub(super) timeout: Option<Duration>,
    pub(super) max_attempts: u8,
    pub(super) hedging_delay: Duration,
    pub(super) non_fatal: Codes,
}

/// Reads the methods: those without a `hedgingPolicy` too, as their names take precedence over broader ones.
pub(super) fn read(json: &str) -> Result<Vec<MethodConfig>, ServiceConfigError> {
    let config: Value = serde_json::from_str(json)
        .map_err(|error| ServiceConfigError::new("service config", error, "JSON"))?;
    let root = Place::root(&config);
    let mut methods = Vec::new();
    for method in root.list("methodConfig")? {
        let policy = method.get("hedgingPolicy");
        methods.push(MethodConfig {
            hedging: policy.map(|policy| hedging(&method, &policy)).transpose()?,
            paths: paths(&method)?,
        });
    }
    Ok(methods)
}

fn paths(method: &Place<'_>) -> Result<Vec<String>, ServiceConfigError> {
    let mut paths = Vec::new();
    for name in method.list("name")? {
        let text = |part| match name.get(part) {
            None => Ok(""),
            Some(place) => place.text("a string"),
        };
        paths.push(match (text("service")?, text("method")?) {
            ("", "") => "/".to_owned(),
            ("", _) => return Err(name.error("the name of a service and maybe of a method")),
            (service, method) => format!("/{service}/{method}"),
        });
    }
    Ok(paths)
}

fn hedging(method: &Place<'_>, policy: &Place<'_>) -> Result<Hedging, ServiceConfigError> {
    if let Some(retry) = method.get("retryPolicy") {
        return Err(retry.error("absent, since there is a `hedgingPolicy`"));
    }
    let expected = "a whole number of at least 2";
    let attempts = policy.get("maxAttempts");
    let max_attempts = match attempts.as_ref().map(|attempts| whole(attempts.value)) {
        Some(Some(attempts @ 2..)) => attempts.min(u8::MAX.into()) as u8,
        _ => {
            return Err(attempts
                .unwrap_or_else(|| policy.missing("maxAttempts"))
                .error(expected));
        }
    };
    let duration = |place: Option<Place<'_>>| place.map(|place| place.duration()).transpose();
    let mut codes = Vec::new();
    for code in policy.list("nonFatalStatusCodes")? {
        codes.push(code.code()?);
    }
    Ok(Hedging {
        timeout: duration(method.get("timeout"))?,
        max_attempts,
        hedging_delay: duration(policy.get("hedgingDelay"))?.unwrap_or_default(),
        non_fatal: codes.into_iter().collect(),
    })
}

/// Returns a whole number that is not negative, even if it is written as 3.0.
fn whole(value: &Value) -> Option<u64> {
    let is_whole =
        |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
    let float = || value.as_f64().filter(is_whole).map(|number| number as u64);
    value.as_u64().or_else(float)
}

/// A value and its path.
struct Place<'v> {
    path: String,
    value: &'v Value,
}

impl<'v> Place<'v> {
    fn root(value: &'v Value) -> Self {
        let path = String::new();
        Self { path, value }
    }

    fn at(&self, name: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{name}", self.path)
    }

    fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let path = self.at(name);
        Some(Self { path, value })
    }

    fn missing(&self, name: &str) -> Self {
        let path = self.at(name);
        Self {
            path,
            value: &Value::Null,
        }
    }

    fn list(&self, name: &str) -> Result<Vec<Self>, ServiceConfigError> {
        let Some(list) = self.get(name) else {
            return Ok(Vec::new());
        };
        let values = list.value.as_array().ok_or_else(|| list.error("a list"))?;
        let places = values.iter().enumerate().map(|(index, value)| Self {
            path: format!("{}[{index}]", list.path),
            value,
        });
        Ok(places.collect())
    }

    fn text(&self, expected: &'static str) -> Result<&'v str, ServiceConfigError> {
        self.value.as_str().ok_or_else(|| self.error(expected))
    }

    /// Reads a duration in the format of protobuf, such as `0.05s`.
    fn duration(&self) -> Result<Duration, ServiceConfigError> {
        let expected = "a number of seconds followed by `s`, such as \"0.05s\"";
        let read = || {
            let (seconds, fraction) = match self.value.as_str()?.strip_suffix('s')? {
                text if text.contains('.') => text.split_once('.')?,
                text => (text, "0"),
            };
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
                return None;
            }
            let nanos = format!("{fraction:0<9}").parse().ok()?;
            Some(Duration::new(seconds.parse().ok()?, nanos))
        };
        read().ok_or_else(|| self.error(expected))
    }

    fn code(&self) -> Result<Code, ServiceConfigError> {
        let code = match self.value {
            Value::String(name) => name.parse().ok(),
            number => number.as_u64().and_then(Code::from_number),
        };
        code.ok_or_else(|| self.error("a status code of gRPC, by its name or number"))
    }

    fn error(&self, expected: &'static str) -> ServiceConfigError {
        ServiceConfigError::new(&self.path, self.value, expected)
    }
}

/// The error of a service config that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServiceConfigError {
    /// The path of the value, such as `methodConfig[0].hedgingPolicy.maxAttempts`.
    pub path: String,
    /// The value, or the reason why it cannot be read.
    pub value: String,
    /// The values that would be valid.
    pub expected: &'static str,
}

impl ServiceConfigError {
    fn new(path: &str, value: impl fmt::Display, expected: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            value: value.to_string(),
            expected,
        }
    }
}

impl fmt::Display for ServiceConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            value,
            expected,
        } = self;
        write!(f, "`{path}` is {value}, but must be {expected}")
    }
}

impl core::error::Error for ServiceConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_with_and_without_a_hedging_policy() {
        let methods = read(
            r#"{
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [
                    {
                        "name": [{"service": "a.B", "method": "C"}, {"service": "a.D"}, {}],
                        "timeout": "1.5s",
                        "hedgingPolicy": {
                            "maxAttempts": 3,
                            "hedgingDelay": "0.05s",
                            "nonFatalStatusCodes": ["UNAVAILABLE", "aborted", 8]
                        }
                    },
                    {"name": [{"service": "a.E"}], "retryPolicy": {"maxAttempts": 2}},
                    {"name": [{"service": "a.F"}], "hedgingPolicy": {"maxAttempts": 2.0}}
                ]
            }"#,
        );
        let codes = [Code::Unavailable, Code::Aborted, Code::ResourceExhausted];
        let expected = [
            MethodConfig {
                paths: ["/a.B/C", "/a.D/", "/"].map(Into::into).to_vec(),
                hedging: Some(Hedging {
                    timeout: Some(Duration::from_millis(1500)),
                    max_attempts: 3,
                    hedging_delay: Duration::from_millis(50),
                    non_fatal: codes.into_iter().collect(),
                }),
            },
            MethodConfig {
                paths: vec!["/a.E/".into()],
                hedging: None,
            },
            MethodConfig {
                paths: vec!["/a.F/".into()],
                hedging: Some(Hedging {
                    timeout: None,
                    max_attempts: 2,
                    hedging_delay: Duration::ZERO,
                    non_fatal: Codes::default(),
                }),
            },
        ];
        assert_eq!(methods.unwrap(), expected);
        assert_eq!(read("{}"), Ok(Vec::new()));
    }

    #[test]
    fn an_invalid_value_is_named() {
        let with = |policy: &str| {
            let json =
                format!(r#"{{"methodConfig": [{{"name": [{{}}], "hedgingPolicy": {policy}}}]}}"#);
            read(&json).unwrap_err().to_string()
        };
        for (policy, error) in [
            (
                r#"{"maxAttempts": 1}"#,
                "`methodConfig[0].hedgingPolicy.maxAttempts` is 1, but must be a whole number of at least 2",
            ),
            (
                r#"{"maxAttempts": 2.5}"#,
                "`methodConfig[0].hedgingPolicy.maxAttempts` is 2.5, but must be a whole number of at least 2",
            ),
            (
                "{}",
                "`methodConfig[0].hedgingPolicy.maxAttempts` is null, but must be a whole number of at least 2",
            ),
            (
                r#"{"maxAttempts": 2, "hedgingDelay": "50ms"}"#,
                "`methodConfig[0].hedgingPolicy.hedgingDelay` is \"50ms\", but must be a number of seconds followed by `s`, such as \"0.05s\"",
            ),
            (
                r#"{"maxAttempts": 2, "nonFatalStatusCodes": ["BAD"]}"#,
                "`methodConfig[0].hedgingPolicy.nonFatalStatusCodes[0]` is \"BAD\", but must be a status code of gRPC, by its name or number",
            ),
        ] {
            assert_eq!(with(policy), error);
        }
        assert!(read("[").unwrap_err().to_string().ends_with("must be JSON"));
        let both =
            r#"{"methodConfig": [{"hedgingPolicy": {"maxAttempts": 2}, "retryPolicy": {}}]}"#;
        assert!(read(both).unwrap_err().to_string().contains("retryPolicy"));
    }
}
