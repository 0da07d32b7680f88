//! HTTP connections with one request each: limits, timeouts, and checks of host and origin.

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

/// Time limit for computing and sending a response.
const RESPONSE_TIME: Duration = Duration::from_secs(120);
/// Interval at which `end` is called.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Time limit for pending responses after `end` has returned a value.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

/// Answers requests until `end` returns a value, and returns that value.
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
        let ended = loop {
            match end() {
                Some(ended) => break ended,
                None => tokio::time::sleep(POLL_INTERVAL).await,
            }
        };
        accepting.abort();
        let all_answered = async {
            while shared.clients.has_unanswered() {
                tokio::time::sleep(POLL_INTERVAL / 5).await;
            }
        };
        let _ = timeout(SHUTDOWN_TIME, all_answered).await;
        Ok(ended)
    })
}

async fn accept(listener: net::TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                // Probably too many open files: wait until some are closed.
                Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        };
        let client = Arc::new(Client { shared: Arc::clone(&shared), number });
        let connection = tokio::spawn(connection(stream, client));
        // The runtime has one thread: the new task starts only when this one awaits, and the
        // connection has been added by then.
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
    // Errors and timeouts concern only this client.
    let _ = timeout(2 * patience + RESPONSE_TIME, connection).await;
}

async fn answer(client: &Arc<Client>, request: Request<Incoming>) -> HttpResponse {
    client.received();
    let is_head = request.method() == Method::HEAD;
    let allowed = check(&request, &client.shared);
    let response = match allowed {
        Ok(()) => routes::answer(&client.shared.app, request, client).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = response.unwrap_or_else(|Refusal(status, message)| {
        let mut response = as_json(&json!({ "error": message }));
        *response.status_mut() = status;
        response
    });
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if is_head {
        *response.body_mut() = Full::default();
    }
    client.shared.clients.request_complete(client.number);
    client.shared.clients.answered(client.number);
    response
}

/// Headers of every response. They forbid caching, MIME sniffing, embedding in frames, and loading
/// resources from other origins or by them.
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

/// Checks that the request names this server as its host and was not sent by another site's page.
fn check(request: &Request<Incoming>, shared: &Shared) -> std::result::Result<(), Refusal> {
    let text =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = request.uri().authority().map(|name| name.as_str()).or(text(header::HOST));
    let Some(host) = host else {
        return Err(Refusal(StatusCode::BAD_REQUEST, "the request names no host".into()));
    };
    // Against DNS rebinding: another site's host name may resolve to this machine after the site's
    // page was loaded.
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

/// Whether a host, with or without a port, is `localhost` or a loopback address.
fn is_local(host: &str) -> bool {
    let is_port = |rest: &str| {
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) if is_port(rest) => name,
        Some(_) => return false,
        None => match host.split_once(':') {
            Some((name, rest)) if is_port(&format!(":{rest}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_addresses_are_local() {
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
