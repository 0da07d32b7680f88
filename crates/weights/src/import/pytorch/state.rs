//! From the pickle of a file to its named tensors.

use super::Global;
use crate::import::ElementType;
use crate::import::names::shown;
use crate::import::stored::Described;
use unpickle::{Call, Pickle, Value};

/// Where a checkpoint has its state dict, the most usual first.
const STATE_DICTS: [&str; 5] = ["state_dict", "model_state_dict", "model", "net", "weights"];

/// Tensors, dimensions of one, and bytes of a name or key, at most: a pickle can repeat a value at
/// the price of two bytes.
const MOST_TENSORS: usize = 1 << 14;
const MOST_DIMS: usize = 8;
const LONGEST_NAME: usize = 512;

/// What a persistent id says of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorageId {
    pub(super) key: String,
    /// `None` for bytes without a type.
    pub(super) element: Option<ElementType>,
    /// Elements, or bytes without a type.
    pub(super) len: usize,
    /// The elements that come before, if it is a part of another storage, as in early versions.
    offset: usize,
}

impl StorageId {
    /// The bytes of an element.
    pub(super) fn element_bytes(&self) -> usize {
        self.element.and_then(ElementType::bytes).unwrap_or(1)
    }

    /// Reads `("storage", class, key, device, length)`, and perhaps a part of it.
    pub(super) fn of(value: Value<'_, Global>) -> Result<StorageId, String> {
        let wrong = || "an object outside the pickle that is no storage of tensors".to_owned();
        let id = value.as_persistent().and_then(Value::as_tuple).ok_or_else(wrong)?;
        let (&[kind, class, key, _, len], rest) = id.split_first_chunk::<5>().ok_or_else(wrong)?;
        let class = class.as_global().filter(|_| kind.as_str() == Some("storage"));
        let key = key.as_str().filter(|key| key.len() <= LONGEST_NAME);
        let (Some(Global::Storage(element)), Some(key)) = (class, key) else {
            return Err(wrong());
        };
        let part = rest.first().and_then(|part| part.as_tuple());
        let offset = match part.as_deref() {
            None => 0,
            Some(&[_, offset, _]) => size(offset)?,
            Some(_) => return Err(wrong()),
        };
        Ok(StorageId { key: key.to_owned(), element, len: size(len)?, offset })
    }
}

/// The tensors of the state dict: the root, or an entry of it by one of the usual names.
///
/// # Errors
/// A sentence, if there is none or a tensor is described in an unknown way.
pub(super) fn tensors(pickle: &Pickle<'_, Global>) -> Result<Vec<Described>, String> {
    let root = pickle.root();
    let named = STATE_DICTS.iter().filter_map(|&key| {
        let found = entries(root).filter(|(name, _)| name.as_str() == Some(key)).last();
        found.map(|(_, value)| value)
    });
    for value in named.chain([root]) {
        let tensors = tensors_of(value)?;
        if !tensors.is_empty() {
            return Ok(tensors);
        }
    }
    let remedy = "in Python, `torch.save(model.state_dict(), path)` writes what is read";
    if rebuilt(root).is_some() {
        return Err(format!("it holds one tensor without a name; {remedy}"));
    }
    let names = entries(root).filter_map(|(name, _)| name.as_str()).take(8);
    let names: Vec<String> = names.map(|name| format!("`{}`", shown(name))).collect();
    let found = if names.is_empty() { root.kind().to_owned() } else { names.join(", ") };
    let places = STATE_DICTS.map(|key| format!("`{key}`")).join(", ");
    Err(format!("it has no tensors by name, nor under {places} (it has {found}); {remedy}"))
}

/// The tensors that are direct entries of a dictionary; entries of other kinds are passed.
fn tensors_of(value: Value<'_, Global>) -> Result<Vec<Described>, String> {
    let mut tensors = Vec::new();
    for (name, value) in entries(value) {
        let (Some(name), Some(call)) = (name.as_str(), rebuilt(value)) else { continue };
        if tensors.len() >= MOST_TENSORS || name.len() > LONGEST_NAME {
            return Err(format!(
                "it has more than {MOST_TENSORS} tensors, or a name of more than {LONGEST_NAME} \
                 bytes; save the parameters of one network"
            ));
        }
        let tensor = described(name, &call);
        tensors.push(tensor.map_err(|reason| format!("the tensor `{}`: {reason}", shown(name)))?);
    }
    Ok(tensors)
}

/// The entries of a dictionary of any class; none of another value.
fn entries(
    value: Value<'_, Global>,
) -> impl Iterator<Item = (Value<'_, Global>, Value<'_, Global>)> {
    let call = value.as_call().filter(|call| call.callable == Global::Mapping);
    // Python 2 passes the entries of an `OrderedDict` as an argument.
    let args = call.as_ref().and_then(|call| call.args.items()?.next()?.items());
    let passed = args.into_iter().flatten().filter_map(|pair| {
        let mut pair = pair.items()?;
        Some((pair.next()?, pair.next()?))
    });
    let set: Vec<_> = call.iter().flat_map(|call| call.pairs()).collect();
    value.pairs().into_iter().flatten().chain(passed).chain(set)
}

/// The call that makes a tensor, if the value is one.
fn rebuilt(value: Value<'_, Global>) -> Option<Call<'_, Global>> {
    use Global::{FromType, Parameter, Tensor, TypedTensor};
    let call = value.as_call()?;
    matches!(call.callable, Tensor | TypedTensor | Parameter | FromType).then_some(call)
}

fn described(name: &str, call: &Call<'_, Global>) -> Result<Described, String> {
    let args = call.args.as_tuple().unwrap_or_default();
    of_call(name, call.callable, &args)
}

/// The tensor that a function makes of its arguments.
fn of_call(name: &str, callable: Global, args: &[Value<'_, Global>]) -> Result<Described, String> {
    let unknown = || "it is described in a way that is not known".to_owned();
    match (callable, args) {
        (Global::Parameter, [tensor, ..]) => {
            described(name, &rebuilt(*tensor).ok_or_else(unknown)?)
        }
        (Global::FromType, [function, _, args, ..]) => {
            let function = function.as_global().ok_or_else(unknown)?;
            of_call(name, function, &args.as_tuple().ok_or_else(unknown)?)
        }
        (
            Global::Tensor | Global::TypedTensor,
            &[storage, offset, shape, strides, ref rest @ ..],
        ) => {
            let storage = StorageId::of(storage)?;
            // Whether it has a gradient, hooks, [a type,] and flags such as a pending negation.
            let (element, flags) = match callable {
                Global::Tensor => (storage.element, rest.get(2)),
                _ => (rest.get(2).and_then(|dtype| element(*dtype)), rest.get(3)),
            };
            let flags = flags.and_then(|flags| flags.pairs()).into_iter().flatten();
            if flags.into_iter().any(|(_, flag)| flag.as_bool() != Some(false)) {
                return Err("it has a pending negation; save `tensor.resolve_neg()`".into());
            }
            let offset = size(offset)?.checked_add(storage.offset);
            Ok(Described {
                name: name.to_owned(),
                element: element.ok_or_else(unknown)?,
                shape: sizes(shape)?,
                strides: sizes(strides)?,
                offset: offset.ok_or_else(|| "an offset that is too large".to_owned())?,
                storage: storage.key,
            })
        }
        _ => Err(unknown()),
    }
}

fn element(value: Value<'_, Global>) -> Option<ElementType> {
    match value.as_global()? {
        Global::Dtype(element) => Some(element),
        _ => None,
    }
}

/// An offset or a length.
fn size(value: Value<'_, Global>) -> Result<usize, String> {
    let size = value.as_int().and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| "a size that is negative or no integer".to_owned())
}

fn sizes(value: Value<'_, Global>) -> Result<Vec<usize>, String> {
    let sizes = value.items().filter(|sizes| sizes.len() <= MOST_DIMS);
    let wrong = || format!("a shape that is no tuple, or has more than {MOST_DIMS} dimensions");
    sizes.ok_or_else(wrong)?.map(size).collect()
}
