//! The kinds of custom layers that files may name.

use super::CustomLayer;
use serde::de::DeserializeOwned;
use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

type Layer = Arc<dyn CustomLayer>;

/// A registered kind.
#[derive(Clone, Copy)]
struct Kind {
    layer: TypeId,
    read: fn(&toml::Table) -> Result<Layer, String>,
}

static KINDS: RwLock<BTreeMap<&'static str, Kind>> = RwLock::new(BTreeMap::new());

/// Registers a kind of layer for the whole process: from now on, networks that name it can be read.
/// Registering the same type again has no effect.
///
/// # Panics
/// If another type has this kind.
pub fn register<L: CustomLayer + DeserializeOwned + 'static>(kind: &'static str) {
    let read = |settings: &toml::Table| -> Result<Layer, String> {
        let layer: L = settings.clone().try_into().map_err(|error| error.to_string())?;
        Ok(Arc::new(layer))
    };
    let layer = TypeId::of::<L>();
    let mut kinds = KINDS.write().unwrap_or_else(PoisonError::into_inner);
    let known = *kinds.entry(kind).or_insert(Kind { layer, read });
    drop(kinds);
    assert!(known.layer == layer, "another type is registered as the layer kind `{kind}`");
}

/// The layer of this kind with these settings.
pub(super) fn read(kind: &str, settings: &toml::Table) -> Result<Layer, String> {
    let kinds = KINDS.read().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = kinds.get(kind).copied() else {
        let names: Vec<String> = kinds.keys().map(|name| format!("`{name}`")).collect();
        let names = if names.is_empty() { "none".to_string() } else { names.join(", ") };
        return Err(format!(
            "the network has a custom layer of kind `{kind}`, which this program does not have \
             (registered kinds: {names}): a program that defines it calls \
             layers::custom::register::<Type>(\"{kind}\") before it reads the network"
        ));
    };
    drop(kinds);
    let layer = (known.read)(settings)
        .map_err(|reason| format!("the settings of the custom layer `{kind}`: {reason}"))?;
    if layer.kind() == kind {
        Ok(layer)
    } else {
        Err(format!("the layer registered as `{kind}` calls its kind `{}`", layer.kind()))
    }
}
