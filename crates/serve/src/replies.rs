//! The forms of answers.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Why there is no better answer: a status and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub StatusCode, pub String);

/// An answer with a body of some type.
pub fn body(kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(bytes.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A line of JSON.
pub fn as_json(value: &Value) -> Answer {
    body("application/json", format!("{value}\n"))
}

/// A file's name without the folders above it, which are private to this machine.
pub fn short(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_nothing_of_folders() {
        assert_eq!(short("/data/cat/1.jpg"), "1.jpg");
        assert_eq!(short("C:\\data\\1.jpg"), "1.jpg");
        assert_eq!(short("triangle 3"), "triangle 3");
    }
}
