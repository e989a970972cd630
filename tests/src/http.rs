//! Questions by HTTP, from inside a namespace.

use std::time::Duration;

use serde_json::Value;

use crate::namespaces::Namespace;
use crate::wait::PATIENCE;

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers in the order in which they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The one header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(is, _)| is == name);
        found.next().map(|(_, value)| &value[..])
    }

    /// The body as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks `http://AT/PATH`.
///
/// # Errors
///
/// Where nobody answers.
pub fn get(
    ns: &Namespace,
    at: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, ureq::Error> {
    send(ns, "GET", at, path, headers, None)
}

/// Asks with any method, and a JSON body where there is one.
///
/// # Errors
///
/// Where nobody answers.
pub fn send(
    ns: &Namespace,
    method: &str,
    at: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, ureq::Error> {
    send_within(PATIENCE, ns, method, at, path, headers, body)
}

/// As [`send`], for at most `patience`.
///
/// # Errors
///
/// As there.
pub fn send_within(
    patience: Duration,
    ns: &Namespace,
    method: &str,
    at: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Result<Answer, ureq::Error> {
    ns.run(|| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{at}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let text = body.map(ToString::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let mut response = agent.run(request.body(text)?)?;
        let headers = response.headers().iter();
        let headers = headers
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
        Ok(Answer { status, headers, body })
    })
}
