//! Connections: how many, how long, from whom. One request each.

use super::{App, routes};
use crate::fault::{Fault, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What a client may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; others wait until one ends.
    pub connections: usize,
    /// Bytes of an upload.
    pub bytes: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Until a request's head, and then its body, must have come.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let patience = Duration::from_secs(30);
        Limits { connections: 16, bytes: 32 << 20, pixels: 64_000_000, patience }
    }
}

/// An upload that is too large is still read, up to so many times its limit: a client that is cut
/// off while it sends does not read why.
const READ_ANYWAY: usize = 4;
/// Beyond patience: for the network, whose queue is short, and for a client that reads slowly.
const ANSWER: Duration = Duration::from_secs(120);
/// Between looks at whether to end.
const TICK: Duration = Duration::from_millis(50);
/// Answers on their way have so long when it ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// Why there is no better answer: a status and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub StatusCode, pub String);

/// Answers requests until `end` says what to end with.
///
/// # Errors
/// If the system refuses.
pub fn run<T>(
    listener: TcpListener,
    app: Arc<App>,
    mut end: impl FnMut() -> Option<T>,
) -> Result<T> {
    let failed = |error: std::io::Error| Fault::failure(format!("cannot serve: {error}"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(2).build().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let loopback = super::local(&listener)?.ip().is_loopback();
    let connections = app.limits.connections;
    runtime.block_on(async {
        let listener = net::TcpListener::from_std(listener).map_err(failed)?;
        let permits = Arc::new(Semaphore::new(connections));
        let accepting = tokio::spawn(accept(listener, app, Arc::clone(&permits), loopback));
        let with = loop {
            match end() {
                Some(with) => break with,
                None => tokio::time::sleep(TICK).await,
            }
        };
        accepting.abort();
        let _ = timeout(FAREWELL, permits.acquire_many(connections as u32)).await;
        Ok(with)
    })
}

async fn accept(
    listener: net::TcpListener,
    app: Arc<App>,
    permits: Arc<Semaphore>,
    loopback: bool,
) {
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(TICK).await; // no more files may be open: some will close
            continue;
        };
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let limits = app.limits;
            let service = service_fn(|request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(answer(&app, request, loopback).await) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .timer(TokioTimer::new())
                .header_read_timeout(limits.patience)
                .max_buf_size(64 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // What went wrong on the way is the client's to know.
            let _ = timeout(2 * limits.patience + ANSWER, connection).await;
            drop(permit);
        });
    }
}

async fn answer(app: &App, request: Request<Incoming>, loopback: bool) -> Answer {
    let head = request.method() == Method::HEAD;
    let allowed = check(&request, loopback);
    let answer = match allowed {
        Ok(()) => routes::answer(app, request).await,
        Err(refusal) => Err(refusal),
    };
    let mut answer = answer.unwrap_or_else(|Refusal(status, sentence)| {
        let mut answer = as_json(&json!({ "error": sentence }));
        *answer.status_mut() = status;
        answer
    });
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if head {
        *answer.body_mut() = Full::default();
    }
    answer
}

/// With every answer: nothing is kept, guessed, embedded elsewhere or loaded from elsewhere.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

/// Whether the request is meant for this server, and not sent by another site's page.
fn check(request: &Request<Incoming>, loopback: bool) -> std::result::Result<(), Refusal> {
    let text =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = request.uri().authority().map(|name| name.as_str()).or(text(header::HOST));
    let Some(host) = host else {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the request names no host".into()));
    };
    // A name that leads here today may have led elsewhere when its page was loaded.
    if loopback && !is_local(host) {
        return Err(Refusal(
            StatusCode::FORBIDDEN,
            format!(
                "{host:?} is not what this server is called: use 127.0.0.1 or localhost, or start \
                 it with --listen and an address that others may use"
            ),
        ));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.split_once("://").map(|(_, from)| from) != Some(host) => {
            Err(Refusal(StatusCode::FORBIDDEN, format!("pages of {origin} cannot use this server")))
        }
        _ => Ok(()),
    }
}

/// Whether a host, with or without a port, is this machine by its own name for itself.
fn is_local(host: &str) -> bool {
    let port = |rest: &str| {
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) if port(rest) => name,
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, rest)) if port(&format!(":{rest}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let address = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    address || name.eq_ignore_ascii_case("localhost")
}

/// The whole body.
///
/// # Errors
/// 413 if it is too large, 408 if it takes too long, 400 if it ends early or there is none.
pub async fn upload(
    request: Request<Incoming>,
    limits: &Limits,
) -> std::result::Result<Vec<u8>, Refusal> {
    let most = limits.bytes;
    let too_large = || {
        let most = most >> 20;
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the upload is larger than {most} MiB"))
    };
    let announced = length(request.headers());
    let waits = request.headers().contains_key(header::EXPECT);
    if announced.is_some_and(|len| len > READ_ANYWAY * most || len > most && waits) {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let mut bytes = Vec::new();
    let mut came = 0;
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| {
                let text = format!("the upload ended early, after {came} bytes");
                Refusal(StatusCode::BAD_REQUEST, text)
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            came += piece.len();
            match came {
                came if came > READ_ANYWAY * most => return Err(too_large()),
                came if came > most => bytes = Vec::new(),
                _ => bytes.extend_from_slice(&piece),
            }
        }
        Ok(())
    };
    timeout(limits.patience, reading).await.map_err(|_| {
        let seconds = limits.patience.as_secs();
        Refusal(StatusCode::REQUEST_TIMEOUT, format!("the upload took more than {seconds} s"))
    })??;
    match came {
        0 => {
            let text = "there is no image: the body of the request is to be a JPEG or PNG file";
            Err(Refusal(StatusCode::BAD_REQUEST, text.into()))
        }
        came if came > most => Err(too_large()),
        _ => Ok(bytes),
    }
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com:8080",
            "127.0.0.1.example.com",
            "127.0.0.1:x",
            "10.0.0.1",
            "[::1",
            "[::2]:1",
            "[::1].example.com",
            "localhost:8080:x",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
