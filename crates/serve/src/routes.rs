//! Routes requests by path.

use crate::answer::{Wanted, WantedPicture};
use crate::app::App;
use crate::client::Client;
use crate::network::Question;
use crate::replies::{HttpResponse, Refusal, as_json, body, short};
use crate::{page, upload};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use inference::neighbours::class_of;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers a request.
///
/// # Errors
/// A status and a message.
pub async fn answer(
    app: &App,
    request: Request<Incoming>,
    client: &Client,
) -> Result<HttpResponse, Refusal> {
    let path = request.uri().path().to_string();
    match (path.as_str(), request.method()) {
        ("/predict", &Method::POST) => return predict(app, request, client).await,
        ("/explain", &Method::POST) => return explain(app, request, client).await,
        ("/predict" | "/explain", _) => return Ok(wrong_method("POST")),
        _ => {}
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(wrong_method("GET, HEAD"));
    }
    match (path.as_str(), path.strip_prefix("/test-images/")) {
        ("/", _) => Ok(body("text/html; charset=utf-8", page::HTML)),
        ("/page.css", _) => Ok(body("text/css; charset=utf-8", page::style())),
        ("/page.js", _) => Ok(body("text/javascript; charset=utf-8", page::SCRIPT)),
        ("/about", _) => Ok(about(app)),
        ("/health", _) => Ok(as_json(&json!({ "status": "ok" }))),
        (_, Some(number)) => {
            let _turn = client.turn().await;
            test_image(app, number).await
        }
        _ => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!(
                "there is no {path}, only /, /about, /health, /predict, /explain and /test-images/N"
            ),
        )),
    }
}

fn wrong_method(allowed: &'static str) -> HttpResponse {
    let first = allowed.split(',').next().unwrap_or(allowed);
    let mut answer = as_json(&json!({ "error": format!("use the method {first}") }));
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// The network, the progress of the index, and the limits.
fn about(app: &App) -> HttpResponse {
    let about = &app.model.weights.about;
    as_json(&json!({
        "run": app.name,
        "model": about.model.name,
        "input": about.model.input,
        "classes": about.classes,
        "titles": app.model.titles(),
        "maps": app.maps,
        "explanations": app.explanations,
        "neighbours": app.index.status(),
        "test_images": app.index.images().map(|images| images.test.len()),
        "limits": {
            "bytes": app.limits.bytes,
            "images": app.limits.images,
            "pixels": app.limits.pixels,
        },
    }))
}

/// Results of one image are an object; of several, a list of objects with file names.
async fn predict(
    app: &App,
    request: Request<Incoming>,
    client: &Client,
) -> Result<HttpResponse, Refusal> {
    let wanted = Wanted::read(request.uri().query().unwrap_or(""))
        .map_err(|text| Refusal(StatusCode::BAD_REQUEST, text))?;
    let upload = upload::read(request, client).await?;
    let _turn = client.turn().await;
    let mut images = upload.images(app.limits.images).await?;
    if images.len() == 1
        && let Some(image) = images.pop()
    {
        let said = app.queue.ask(image.bytes, Question::Json(wanted), app.limits.pixels).await?;
        return Ok(body("application/json", said));
    }
    let mut list = Vec::new();
    for (at, image) in images.into_iter().enumerate() {
        let name = image.name.unwrap_or_default();
        let question = Question::Json(wanted.clone());
        let asked = app.queue.ask(image.bytes, question, app.limits.pixels).await;
        let said = asked.map_err(|Refusal(status, why)| {
            Refusal(status, format!("image {} of the form, `{name}`: {why}", at + 1))
        })?;
        let mut said: Value = serde_json::from_slice(&said).expect("the network answers in JSON");
        said["file"] = name.into();
        list.push(said);
    }
    Ok(as_json(&Value::Array(list)))
}

/// An explanation of one image as a PNG file.
async fn explain(
    app: &App,
    request: Request<Incoming>,
    client: &Client,
) -> Result<HttpResponse, Refusal> {
    let bad = |text| Refusal(StatusCode::BAD_REQUEST, text);
    let wanted = WantedPicture::read(request.uri().query().unwrap_or("")).map_err(bad)?;
    let upload = upload::read(request, client).await?;
    let _turn = client.turn().await;
    let mut images = upload.images(1).await?;
    let image = images.pop().expect("at least one image");
    let question = Question::Picture(wanted);
    let picture = app.queue.ask(image.bytes, question, app.limits.pixels).await?;
    Ok(body("image/png", picture))
}

async fn test_image(app: &App, number: &str) -> Result<HttpResponse, Refusal> {
    let not_found = |text: String| Refusal(StatusCode::NOT_FOUND, text);
    let number: usize =
        number.parse().map_err(|_| not_found(format!("/test-images/{number:?}: use a number")))?;
    let Some(images) = app.index.images() else {
        return Err(match app.index.failure() {
            Some(why) => not_found(why),
            None => {
                let text = "the run's images are still being opened".to_string();
                Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        });
    };
    let (source, count) = (Arc::clone(&images.test), images.test.len());
    if number >= count {
        return Err(not_found(format!("there are {count} test images, the first is number 0")));
    }
    let failed = |text: String| Refusal(StatusCode::INTERNAL_SERVER_ERROR, text);
    let read = move || -> data::Result<_> {
        let mut buffer = data::ReadBuffer::default();
        let (height, width) = source.size();
        let pixels = source.read(number, &mut buffer)?.to_vec();
        let picture = report::picture::data_uri(&augment::Image { height, width, pixels });
        let class = class_of(&*source, number);
        let name = short(&source.name(number)).to_string();
        Ok(json!({
            "number": number,
            "of": count,
            "name": name,
            "class": class,
            "picture": picture,
        }))
    };
    let read =
        tokio::task::spawn_blocking(read).await.map_err(|error| failed(error.to_string()))?;
    Ok(as_json(&read.map_err(|error| failed(error.to_string()))?))
}
