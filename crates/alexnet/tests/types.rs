//! What programs rely on in the libraries' types, besides their functions.

use alexnet::prelude::*;
use std::error::Error;

fn is_error<T: Error + Send + Sync + 'static>() {}
fn is_shared<T: Send + Sync>() {}
fn is_sent<T: Send>() {}

/// Errors fit into `Box<dyn Error + Send + Sync>`, and so into anyhow's and eyre's.
#[test]
fn errors_cross_threads() {
    is_error::<alexnet::data::Error>();
    is_error::<alexnet::inference::Error>();
    is_error::<alexnet::layers::SpecError>();
    is_error::<alexnet::models::UnknownModel>();
    is_error::<alexnet::parallel::Error>();
    is_error::<alexnet::tensor::Error>();
    is_error::<alexnet::train::Error>();
    is_error::<alexnet::weights::Error>();
    #[cfg(feature = "report")]
    is_error::<alexnet::report::Error>();
    #[cfg(feature = "serve")]
    is_error::<alexnet::serve::Error>();
}

#[test]
fn what_threads_share_and_send() {
    is_shared::<Classifier>();
    is_shared::<Model>();
    is_shared::<Weights>();
    is_shared::<Spec>();
    is_shared::<Job>();
    is_shared::<Stop>();
    is_sent::<Loader>();
    is_sent::<Device>();
    is_sent::<Network>();
}
