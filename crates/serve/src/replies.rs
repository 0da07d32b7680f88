//! HTTP responses.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;

/// A response.
pub type HttpResponse = Response<Full<Bytes>>;

/// An error response: a status and a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub StatusCode, pub String);

/// A response with a body of content type `kind`.
pub fn body(kind: &'static str, bytes: impl Into<Bytes>) -> HttpResponse {
    let mut answer = Response::new(Full::new(bytes.into()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A response with a line of JSON.
pub fn as_json(value: &Value) -> HttpResponse {
    body("application/json", format!("{value}\n"))
}

/// A file's name without its path, which should not be disclosed to clients.
pub fn short(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_contain_no_folders() {
        assert_eq!(short("/data/cat/1.jpg"), "1.jpg");
        assert_eq!(short("C:\\data\\1.jpg"), "1.jpg");
        assert_eq!(short("triangle 3"), "triangle 3");
    }
}
