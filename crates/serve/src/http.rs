//! Connections, with one request each: limits, timeouts, and checks of host and origin.

use crate::app::App;
use crate::client::{Client, PIECE, Shared};
use crate::clients::Clients;
use crate::error::{Error, Result};
use crate::replies::{HttpResponse, Refusal, as_json};
use crate::{listen, routes};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Time limit for inference and for a client that reads slowly.
const ANSWER: Duration = Duration::from_secs(120);
/// Interval of polling `end`.
const TICK: Duration = Duration::from_millis(50);
/// Time for pending responses when the server ends.
const FAREWELL: Duration = Duration::from_millis(500);

/// Answers requests until `end` returns a value.
///
/// # Errors
/// If a system call fails.
pub fn run<T>(
    listener: TcpListener,
    app: Arc<App>,
    mut end: impl FnMut() -> Option<T>,
) -> Result<T> {
    let failed = Error::system("serve");
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(2).build().map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let loopback = listen::address(&listener)?.ip().is_loopback();
    let limits = app.limits;
    let shared = Arc::new(Shared {
        app,
        clients: Clients::new(limits.waiting),
        answering: Semaphore::new(limits.answering),
        memory: Arc::new(Semaphore::new(limits.all_bytes / PIECE)),
        loopback,
    });
    runtime.block_on(async {
        let listener = net::TcpListener::from_std(listener).map_err(failed)?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        let with = loop {
            match end() {
                Some(with) => break with,
                None => tokio::time::sleep(TICK).await,
            }
        };
        accepting.abort();
        let owed = async {
            while shared.clients.has_unanswered() {
                tokio::time::sleep(TICK / 5).await;
            }
        };
        let _ = timeout(FAREWELL, owed).await;
        Ok(with)
    })
}

async fn accept(listener: net::TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                // Too many open files: wait for some to close.
                Err(_) => tokio::time::sleep(TICK).await,
            }
        };
        let client = Arc::new(Client { shared: Arc::clone(&shared), number });
        let connection = tokio::spawn(connection(stream, client));
        // The connection's task starts when this one waits, after it has been added.
        shared.clients.add(number, connection.abort_handle());
    }
}

async fn connection(stream: net::TcpStream, client: Arc<Client>) {
    let patience = client.limits().patience;
    let service = service_fn(|request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(answer(&client, request).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    // Connection errors concern only the client.
    let _ = timeout(2 * patience + ANSWER, connection).await;
}

async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> HttpResponse {
    client.received();
    let head = request.method() == Method::HEAD;
    let allowed = check(&request, &client.shared);
    let answer = match allowed {
        Ok(()) => routes::answer(&client.shared.app, request, client).await,
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
    client.shared.clients.request_complete(client.number);
    client.shared.clients.answered(client.number);
    answer
}

/// Headers of every response: no caching, sniffing, framing or loading from elsewhere.
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

/// Checks that the request is for this server and was not sent by another site's page.
fn check(request: &Request<Incoming>, shared: &Shared) -> std::result::Result<(), Refusal> {
    let text =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = request.uri().authority().map(|name| name.as_str()).or(text(header::HOST));
    let Some(host) = host else {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the request names no host".into()));
    };
    // A name that leads here today may have led elsewhere when its page was loaded.
    if shared.loopback && !is_local(host) {
        return Err(Refusal(
            StatusCode::FORBIDDEN,
            format!(
                "{host:?} is not what this server is called: use 127.0.0.1 or localhost, or {}",
                shared.app.way_in
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
