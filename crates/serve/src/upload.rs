//! Uploads: an image as the body, or a form with one or more images.

use crate::client::{Client, PIECE};
use crate::replies::{Refusal, short};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};
use std::convert::Infallible;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// An upload that is too large is still read up to this multiple of its limit, as a client that is
/// disconnected while sending does not read the error.
const READ_ANYWAY: usize = 4;

/// The whole body of a request.
pub struct Upload {
    kind: String,
    bytes: Vec<u8>,
    /// The memory permits that it holds.
    held: Option<OwnedSemaphorePermit>,
}

/// An uploaded image file.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent {
    /// The file name in a form.
    pub name: Option<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Reads the whole body.
///
/// # Errors
/// 413 if it is too large, 408 if it takes too long, 400 if it ends early, 503 if all uploads
/// together take too much memory.
pub async fn read(request: Request<Incoming>, client: &Client) -> Result<Upload, Refusal> {
    let limits = client.limits();
    let most = limits.bytes;
    let too_large = || {
        let most = most >> 20;
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the upload is larger than {most} MiB"))
    };
    let headers = request.headers();
    let (announced, waits) = (length(headers), headers.contains_key(header::EXPECT));
    if announced.is_some_and(|len| len > READ_ANYWAY * most || len > most && waits) {
        return Err(too_large());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut upload = Upload { kind: kind.unwrap_or("").to_string(), bytes: Vec::new(), held: None };
    let mut body = request.into_body();
    let mut came = 0;
    let reading = async {
        while let Some(frame) = body.frame().await {
            client.received();
            let frame = frame.map_err(|_| {
                let text = format!("the upload ended early, after {came} bytes");
                Refusal(StatusCode::BAD_REQUEST, text)
            })?;
            let Ok(piece) = frame.into_data() else { continue };
            came += piece.len();
            match came {
                came if came > READ_ANYWAY * most => return Err(too_large()),
                came if came > most => (upload.bytes, upload.held) = (Vec::new(), None),
                _ => upload.take(&piece, client)?,
            }
        }
        Ok(())
    };
    timeout(limits.patience, reading).await.map_err(|_| {
        let seconds = limits.patience.as_secs();
        Refusal(StatusCode::REQUEST_TIMEOUT, format!("the upload took more than {seconds} s"))
    })??;
    if came > most {
        return Err(too_large());
    }
    Ok(upload)
}

impl Upload {
    fn take(&mut self, piece: &[u8], client: &Client) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = (self.bytes.len() + piece.len()).div_ceil(PIECE);
        if needed > held {
            let more = client.memory(needed - held).ok_or_else(|| {
                let text = "other uploads use all memory: try again in a moment";
                Refusal(StatusCode::SERVICE_UNAVAILABLE, text.to_string())
            })?;
            match &mut self.held {
                Some(held) => held.merge(more),
                held => *held = Some(more),
            }
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The images in the upload, at least one and at most `most`: the body, or the files of a form
    /// (`multipart/form-data`, as `curl -F file=@cat.jpg` sends it).
    ///
    /// # Errors
    /// 400 if there is none or the form is malformed, 413 if there are too many, 415 for other
    /// multipart bodies.
    pub async fn images(self, most: usize) -> Result<Vec<Sent>, Refusal> {
        let kind = self.kind.trim_start().to_ascii_lowercase();
        let images = if kind.starts_with("multipart/") {
            files(self.bytes, &self.kind, most).await?
        } else if self.bytes.is_empty() {
            Vec::new()
        } else {
            vec![Sent { name: None, bytes: self.bytes }]
        };
        if images.is_empty() {
            return Err(bad(
                "there is no image: the body of the request is to be an image file, or a form \
             with such files",
            ));
        }
        Ok(images)
    }
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text.into())
}

/// The files of a form.
async fn files(bytes: Vec<u8>, kind: &str, most: usize) -> Result<Vec<Sent>, Refusal> {
    let boundary = multer::parse_boundary(kind).map_err(|error| match error {
        multer::Error::NoBoundary => bad("the form's Content-Type names no boundary"),
        _ => Refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("{kind:?} cannot be read: send the image itself, or multipart/form-data"),
        ),
    })?;
    let body = futures_util::stream::once(async { Ok::<_, Infallible>(Bytes::from(bytes)) });
    let mut form = multer::Multipart::new(body, boundary);
    let broken = |error: multer::Error| bad(format!("the form cannot be read: {error}"));
    let mut files = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let Some(name) = field.file_name().map(|name| short(name).to_string()) else {
            let name = field.name().unwrap_or_default();
            return Err(bad(format!(
                "`{name}` in the form is not a file: put parameters into the address, as in \
                 /predict?top=3"
            )));
        };
        if files.len() == most {
            let text = format!("the form has more than {most} images: send fewer at a time");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let bytes = field.bytes().await.map_err(broken)?.to_vec();
        files.push(Sent { name: Some(name), bytes });
    }
    Ok(files)
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(kind: &str, body: &[u8]) -> Result<Vec<Sent>, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let upload = Upload { kind: kind.to_string(), bytes: body.to_vec(), held: None };
        runtime.block_on(upload.images(2))
    }

    const FORM: &str = "multipart/form-data; boundary=xyz";

    fn part(head: &str, body: &str) -> String {
        format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n")
    }

    #[test]
    fn images_are_read_from_bodies_and_forms() {
        let one = |name: Option<&str>, bytes: &[u8]| Sent {
            name: name.map(str::to_string),
            bytes: bytes.to_vec(),
        };
        for kind in ["", "image/png", "application/x-www-form-urlencoded", "nonsense"] {
            assert_eq!(images(kind, b"abc").unwrap(), [one(None, b"abc")]);
        }
        let a = part("name=\"file\"; filename=\"/pictures/a.png\"", "AB\r\nC");
        let b = part("name=\"other\"; filename=\"b.png\"\r\nContent-Type: image/png", "");
        let two = images(FORM, format!("{a}{b}--xyz--\r\n").as_bytes()).unwrap();
        assert_eq!(two, [one(Some("a.png"), b"AB\r\nC"), one(Some("b.png"), b"")]);
        let quoted = "Multipart/Form-Data; boundary=\"xyz\"";
        assert_eq!(images(quoted, format!("{a}--xyz--").as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn malformed_forms_are_refused() {
        let a = part("name=\"file\"; filename=\"a.png\"", "A");
        let text = part("name=\"top\"", "3");
        for (kind, body, status, told) in [
            ("", String::new(), 400, "there is no image"),
            (FORM, "--xyz--\r\n".to_string(), 400, "there is no image"),
            (FORM, format!("{text}--xyz--"), 400, "`top` in the form is not a file"),
            (FORM, format!("{a}{a}{a}--xyz--"), 413, "more than 2 images"),
            (FORM, a.clone(), 400, "the form cannot be read"),
            (FORM, "hello".to_string(), 400, "the form cannot be read"),
            (FORM, String::new(), 400, "the form cannot be read"),
            ("multipart/form-data", a.clone(), 400, "names no boundary"),
            ("multipart/mixed; boundary=xyz", a.clone(), 415, "multipart/form-data"),
        ] {
            let Refusal(was, said) = images(kind, body.as_bytes()).unwrap_err();
            assert_eq!(was.as_u16(), status, "{kind} {body}: {said}");
            assert!(said.contains(told), "{told}: {said}");
        }
    }
}
