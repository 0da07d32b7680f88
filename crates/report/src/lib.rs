//! Pictures of what a network learned, and one page with all of them. No training code.
//!
//! * [`Page`]: one or more runs as one HTML file that needs nothing else; [`Run::read`]: what a
//!   run's folder tells; [`export`]: its pictures as files; [`Error`]: why a folder tells nothing
//! * [`Curves`]: a run's measurements; [`plot`]: lines as SVG
//! * [`kernels`]: the first layer's weights, the paper's Figure 3
//! * [`maps`]: what convolutions make of an image, map beside map
//! * [`figures`]: predictions and nearest neighbours, the two halves of its Figure 4
//! * [`network`]: a network row by row, from its specification; [`Diagram`]: as Figure 2 draws one
//! * [`tested`]: what a test leaves, as files and tables; [`predicted`]: what single images show,
//!   as text, JSON or CSV
//! * [`DatasetSummary`]: the classes, sizes and colours of a data set
//! * [`Confusion`]: which classes are taken for which
//! * [`sheet`]: images side by side; [`picture`]: pixels, letters, PNG files; [`palette`]: the same
//!   in few colours
//!
//! ```
//! use alexnet_report::{Curves, Page, Run};
//!
//! let line = r#"{"kind":"train","step":1,"loss":2.3,"top1_error":0.9,"rate":0.01}"#;
//! let run = Run { name: "first".into(), curves: Curves::parse(line), ..Run::default() };
//! let html = Page { title: "A run".into(), runs: vec![run] }.to_html();
//! assert!(html.starts_with("<!doctype html>") && html.contains("first"));
//! ```
#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod confusion;
mod curves;
mod dataset;
mod diagram;
mod error;
pub mod export;
pub mod figures;
mod folder;
pub mod font;
pub mod kernels;
pub mod maps;
mod markup;
pub mod network;
mod page;
pub mod palette;
pub mod picture;
pub mod plot;
pub mod predicted;
mod progress;
mod run;
mod sections;
pub mod sheet;
pub mod tested;

pub use confusion::Confusion;
pub use curves::{Curves, Drop, Learned, Validated};
pub use dataset::DatasetSummary;
pub use diagram::{Diagram, Stage};
pub use error::Error;
pub use files::numbers::{duration, grouped, percent};
pub use page::{Page, STYLE};
pub use progress::{Measure, curves_svg};
pub use run::{ClassRow, Model, ModelRow, Run, Tested};
