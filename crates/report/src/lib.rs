//! Figures of trained networks and runs, and an HTML page with all of them. No training code.
//!
//! * [`Page`]: one or more runs as one self-contained HTML file; [`Run::read`]: reads a run's
//!   folder; [`export`]: its figures as files
//! * [`Curves`]: a run's measurements; [`plot`]: line plots as SVG
//! * [`kernels`]: the first layer's weights, the paper's Figure 3
//! * [`explain`]: explanations of predictions, laid over an image; [`activating`]: images to which
//!   kernels respond most
//! * [`maps`]: feature maps of an image, side by side
//! * [`figures`]: predictions and nearest neighbours, the two halves of its Figure 4
//! * [`network`]: a network's table, from its specification; [`Diagram`]: drawn as in Figure 2
//! * [`SweepPage`]: many runs with different settings
//! * [`tested`]: test results as files and tables; [`predicted`]: predictions for images as text,
//!   JSON or CSV
//! * [`DatasetSummary`]: the classes, sizes and colours of a data set
//! * [`Confusion`]: the confusion matrix; [`quality`]: precision, recall, calibration and the like;
//!   [`reliability`]: the reliability diagram
//! * [`sheet`]: contact sheets; [`picture`]: drawing and PNG files; [`palette`]: PNG files with a
//!   palette
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
#![warn(missing_debug_implementations)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod activating;
mod confusion;
mod curves;
mod dataset;
mod diagram;
mod document;
mod error;
pub mod explain;
pub mod export;
pub mod figures;
mod folder;
pub mod font;
mod kept;
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
pub mod quality;
pub mod reliability;
mod run;
mod sections;
pub mod sheet;
mod sweep;
pub mod tested;
mod verdict;

pub use confusion::Confusion;
pub use curves::{Curves, RateDrop, TrainPoint, ValidationPoint};
pub use dataset::DatasetSummary;
pub use diagram::{Diagram, DiagramLayer};
pub use document::STYLE;
pub use error::Error;
pub use files::numbers::{duration, grouped, percent};
pub use kept::KeptWeights;
pub use page::Page;
pub use progress::{Measure, curves_svg};
pub use run::{ClassRow, Model, ModelRow, Run, TestSummary};
pub use sweep::{SweepPage, SweepParameter, SweepTrial};
