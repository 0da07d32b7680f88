//! The element types that slots hold.

/// What a slot's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floats: activations, parameters, gradients.
    F32,
    /// bfloat16, the upper half of an f32: weights, and activations that are only multiplied or
    /// compared, of networks that are planned for inference in bf16.
    Bf16,
    /// Bytes: pixels.
    U8,
    /// 32-bit words: labels, step counters.
    U32,
}

impl DType {
    /// Bytes an element takes.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::Bf16 => 2,
            DType::U8 => 1,
        }
    }
}

/// The bits of a bfloat16 value.
pub type Bf16 = u16;

/// A Rust type that a slot can hold.
pub trait Element: bytemuck::Pod {
    /// The slot's name for it.
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for Bf16 {
    const DTYPE: DType = DType::Bf16;
}
impl Element for u8 {
    const DTYPE: DType = DType::U8;
}
impl Element for u32 {
    const DTYPE: DType = DType::U32;
}
