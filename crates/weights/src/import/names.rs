//! Tensors' names, as PyTorch makes them.

use super::TensorInfo;
use ::layers::Role;
use std::collections::HashSet;

/// What `DataParallel`, training frameworks and `torch.compile` put before every name.
const WRAPPERS: [&str; 3] = ["module.", "model.", "_orig_mod."];

/// A name for a message: without control characters, and not of any length.
pub(crate) fn shown(name: &str) -> String {
    const MOST: usize = 100;
    name.escape_debug().take(MOST).collect()
}

/// Removes wrappers' prefixes that all names have, and refuses names that occur twice.
///
/// # Errors
/// A sentence that has the name.
pub(crate) fn unwrap(tensors: &mut [TensorInfo]) -> Result<(), String> {
    let mut seen = HashSet::new();
    if let Some(twice) = tensors.iter().find(|tensor| !seen.insert(&tensor.name)) {
        let name = shown(&twice.name);
        return Err(format!("it has the tensor `{name}` twice; save the weights again"));
    }
    drop(seen);
    let is_before =
        |prefix: &str, name: &str| name.len() > prefix.len() && name.starts_with(prefix);
    while let Some(prefix) = WRAPPERS
        .iter()
        .find(|prefix| tensors.iter().all(|tensor| is_before(prefix, &tensor.name)))
        .filter(|_| !tensors.is_empty())
    {
        tensors.iter_mut().for_each(|tensor| drop(tensor.name.drain(..prefix.len())));
    }
    Ok(())
}

/// PyTorch's name of a parameter.
pub(crate) fn suffix(role: Role) -> &'static str {
    match role {
        Role::Weight | Role::Slope | Role::Scale => "weight",
        Role::Bias | Role::Shift => "bias",
        Role::Mean => "running_mean",
        Role::Variance => "running_var",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::ElementType;

    fn unwrapped(names: &[&str]) -> Result<Vec<String>, String> {
        let tensor = |name: &&str| {
            let (name, shape) = (name.to_string(), vec![1]);
            TensorInfo { name, shape, element: ElementType::F32 }
        };
        let mut tensors: Vec<TensorInfo> = names.iter().map(tensor).collect();
        unwrap(&mut tensors)?;
        Ok(tensors.into_iter().map(|tensor| tensor.name).collect())
    }

    #[test]
    fn prefixes_of_all_names_are_removed() {
        for (names, expected) in [
            (&["module.a", "module.b"][..], &["a", "b"][..]),
            (&["model._orig_mod.module.a"], &["a"]),
            (&["module.a", "b"], &["module.a", "b"]),
            (&["module.", "module.a"], &["module.", "module.a"]),
            (&["features.0.weight"], &["features.0.weight"]),
            (&[], &[]),
        ] {
            assert_eq!(unwrapped(names).unwrap(), expected);
        }
        let error = unwrapped(&["a", "b", "a"]).unwrap_err();
        assert!(error.contains("`a` twice"), "{error}");
    }
}
