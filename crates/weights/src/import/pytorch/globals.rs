//! What a pickle of PyTorch may refer to.

use crate::import::ElementType;
use unpickle::{Callable, numpy};

/// A global of the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `_rebuild_tensor` and `_rebuild_tensor_v2`: storage, offset, shape, strides, and in the
    /// later one whether it has a gradient, hooks, and flags.
    Tensor,
    /// `_rebuild_tensor_v3`: the same with a type, as its storage has none.
    TypedTensor,
    /// `_rebuild_parameter` and `_rebuild_parameter_with_state`: a tensor, and what is not read.
    Parameter,
    /// `_rebuild_from_type_v2`: a function of this list, a class, arguments, and a state.
    FromType,
    /// A class of storages, of an element type or of bytes.
    Storage(Option<ElementType>),
    /// `torch.float32` and the like.
    Dtype(ElementType),
    /// `OrderedDict` and other dictionaries.
    Mapping,
    Numpy(numpy::Global),
    /// What is plain and beside the tensors, and so not looked at.
    Plain,
}

impl Callable for Global {
    fn find(module: &str, name: &str) -> Option<Global> {
        if let Some(global) = numpy::Global::find(module, name) {
            return Some(Global::Numpy(global));
        }
        Some(match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Global::TypedTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Global::Parameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Global::FromType,
            ("torch" | "torch.cuda" | "torch.storage", _) if name.ends_with("Storage") => {
                Global::Storage(storage(name)?)
            }
            ("torch", "Size" | "device" | "Tensor") => Global::Plain,
            ("torch.nn.parameter", "Parameter" | "Buffer") => Global::Plain,
            ("torch.torch_version", "TorchVersion") => Global::Plain,
            ("torch", _) => Global::Dtype(dtype(name)?),
            ("collections", "OrderedDict" | "defaultdict" | "Counter") => Global::Mapping,
            ("argparse", "Namespace") => Global::Plain,
            (
                "__builtin__" | "builtins",
                "set" | "frozenset" | "list" | "dict" | "tuple" | "int" | "float" | "bool" | "str"
                | "bytearray" | "complex",
            ) => Global::Plain,
            _ => return None,
        })
    }

    fn as_numpy(self) -> Option<numpy::Global> {
        match self {
            Global::Numpy(global) => Some(global),
            _ => None,
        }
    }
}

/// The element type of a class of storages; `None` in it for bytes without a type.
#[expect(clippy::option_option, reason = "a class that is not known is another thing")]
fn storage(name: &str) -> Option<Option<ElementType>> {
    Some(Some(match name {
        "DoubleStorage" => ElementType::F64,
        "FloatStorage" => ElementType::F32,
        "HalfStorage" => ElementType::F16,
        "BFloat16Storage" => ElementType::Bf16,
        "LongStorage" => ElementType::I64,
        "IntStorage" => ElementType::I32,
        "ShortStorage" => ElementType::I16,
        "CharStorage" => ElementType::I8,
        "ByteStorage" => ElementType::U8,
        "BoolStorage" => ElementType::Bool,
        "UntypedStorage" => return Some(None),
        _ => return None,
    }))
}

fn dtype(name: &str) -> Option<ElementType> {
    Some(match name {
        "float64" => ElementType::F64,
        "float32" => ElementType::F32,
        "float16" => ElementType::F16,
        "bfloat16" => ElementType::Bf16,
        "int64" => ElementType::I64,
        "int32" => ElementType::I32,
        "int16" => ElementType::I16,
        "int8" => ElementType::I8,
        "uint8" => ElementType::U8,
        "bool" => ElementType::Bool,
        "uint16" => ElementType::Other("u16"),
        "uint32" => ElementType::Other("u32"),
        "uint64" => ElementType::Other("u64"),
        _ => return None,
    })
}
