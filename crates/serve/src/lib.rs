//! Serves a trained network: a page that classifies images, and an HTTP interface for programs.
//!
//! [`Server::open`] opens the network and binds an address; [`Server::run`] answers requests until
//! a stop is requested. The page is at `/`. Programs POST an image, or a form with several, to
//! `/predict` (`?top=3&neighbours=6&maps=yes&pictures=yes&explain=yes`), POST an image to `/explain`
//! (`?method=saliency&class=dog`) for a PNG file, and GET `/about`, `/health` and `/test-images/N`.
//! All other responses but the page are JSON, including errors: `{"error": "message"}`.
//!
//! * [`Server`], [`Options`]: the server; [`Images`]: the data set of the network
//! * [`Error`]: errors of the server; clients receive theirs as responses
//!
//! Internal modules, in the order in which a request passes through them:
//!
//! * `listen`: the address
//! * `http`: connections, their time limits, allowed hosts and origins
//! * `limits`, `client`, `clients`: limits per client; connections, and which one is closed first
//! * `routes`: paths; `replies`: responses
//! * `upload`: the body: an image, or a form with several
//! * `app`: the shared state; `network`: the inference thread and its queue
//! * `explain`: pictures that explain a class
//! * `answer`: the results for an image as JSON
//! * `index`: features of the training images, computed in the background
//! * `page`: the page, its style and its script
//!
//! ```
//! # use inference::example;
//! use alexnet_serve::{Options, Server};
//! use evaluate::Stop;
//! use inference::{Model, device::Placement};
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! # let folder = example::folder();
//! let model = Model::open(&folder, &mut |_| ())?; // a run's folder, or a file of weights
//! let mut options = Options::default();
//! options.listen = Some("127.0.0.1:0".to_string()); // any port that is free
//! let name = "tiny".to_string();
//! let server = Server::open(model, name, Placement::default(), options, &mut |_| ())?;
//! let (address, stop) = (server.address(), Stop::new());
//! let serving = std::thread::spawn({
//!     let stop = stop.clone();
//!     let images = || Err("its images are elsewhere".to_string());
//!     move || server.run(images, |_| (), &stop)
//! });
//!
//! let mut client = TcpStream::connect(address)?;
//! write!(client, "GET /about HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(r#""run":"tiny""#));
//!
//! stop.request(2); // as Ctrl-C does in the program
//! assert_eq!(serving.join().unwrap()?, 2);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod answer;
mod app;
mod client;
mod clients;
mod error;
mod explain;
mod http;
mod index;
mod limits;
mod listen;
mod network;
mod page;
mod replies;
mod routes;
mod server;
mod upload;

pub use error::{Error, Result};
pub use index::Images;
pub use listen::PORT;
pub use server::{Options, Server};
