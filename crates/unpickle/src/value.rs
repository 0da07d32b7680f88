//! Access to the values of a pickle.

use crate::Callable;
use crate::arena::{Arena, CallNode, Node, NodeId, Sequence};
use std::fmt;

/// A parsed pickle.
#[derive(Debug)]
pub struct Pickle<'a, G> {
    pub(crate) arena: Arena<'a, G>,
    pub(crate) root: NodeId,
}

impl<G: Callable> Pickle<'_, G> {
    /// The pickled value.
    pub fn root(&self) -> Value<'_, G> {
        Value { arena: &self.arena, id: self.root }
    }

    /// Every object that is kept outside the pickle, in the order in which the pickle names them,
    /// also where the root does not lead to it; for each, [`Value::as_persistent`] is its id.
    pub fn persistent(&self) -> impl Iterator<Item = Value<'_, G>> {
        let all =
            (0..self.arena.nodes.len()).map(|id| Value { arena: &self.arena, id: id as NodeId });
        all.filter(|value| value.as_persistent().is_some())
    }
}

/// A value in a pickle. Methods for other types of values return `None`.
pub struct Value<'p, G> {
    arena: &'p Arena<'p, G>,
    id: NodeId,
}

/// A recorded call, which was not executed.
pub struct Call<'p, G> {
    /// The callable.
    pub callable: G,
    /// The arguments, a tuple.
    pub args: Value<'p, G>,
    /// The argument of `__setstate__`.
    pub state: Option<Value<'p, G>>,
    node: &'p CallNode<G>,
    arena: &'p Arena<'p, G>,
}

impl<G> Clone for Value<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Value<'_, G> {}

impl<'p, G: Callable> Value<'p, G> {
    fn node(self) -> &'p Node<G> {
        self.arena.node(self.id)
    }

    fn of(self, id: NodeId) -> Value<'p, G> {
        Value { arena: self.arena, id }
    }

    /// A number that identifies the value: equal for two references to the same value.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// `True` or `False`; also the integers 0 and 1, as older programs pickle them.
    pub fn as_bool(self) -> Option<bool> {
        match *self.node() {
            Node::Bool(value) => Some(value),
            Node::Int(value @ (0 | 1)) => Some(value == 1),
            _ => None,
        }
    }

    /// An integer.
    pub fn as_int(self) -> Option<i64> {
        match *self.node() {
            Node::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A floating-point number.
    pub fn as_float(self) -> Option<f64> {
        match *self.node() {
            Node::Float(value) => Some(value),
            _ => None,
        }
    }

    /// A byte string: Python 3's `bytes` and `bytearray`, Python 2's `str`.
    pub fn as_bytes(self) -> Option<&'p [u8]> {
        match *self.node() {
            Node::Bytes(span) => Some(self.arena.bytes(span)),
            _ => None,
        }
    }

    /// Text: Python 3's `str`, Python 2's `unicode`, and byte strings that are UTF-8, as a `str`
    /// of Python 2 is a byte string.
    pub fn as_str(self) -> Option<&'p str> {
        match *self.node() {
            Node::Str(span) => Some(self.arena.text(span)),
            Node::Bytes(span) => std::str::from_utf8(self.arena.bytes(span)).ok(),
            _ => None,
        }
    }

    /// The elements of a list, a tuple or a set.
    pub fn items(self) -> Option<impl ExactSizeIterator<Item = Value<'p, G>>> {
        match self.node() {
            Node::Items(_, items) => Some(items.iter().map(move |&id| self.of(id))),
            _ => None,
        }
    }

    /// The elements of a tuple.
    pub fn as_tuple(self) -> Option<Vec<Value<'p, G>>> {
        match self.node() {
            Node::Items(Sequence::Tuple, _) => self.items().map(Iterator::collect),
            _ => None,
        }
    }

    /// The keys and values of a dictionary in insertion order; the last one of equal keys counts.
    pub fn pairs(self) -> Option<impl ExactSizeIterator<Item = (Value<'p, G>, Value<'p, G>)>> {
        match self.node() {
            Node::Dict(pairs) => Some(pairs.iter().map(move |&(k, v)| (self.of(k), self.of(v)))),
            _ => None,
        }
    }

    /// The value for a text key (see [`as_str`](Self::as_str)) of a dictionary.
    pub fn get(self, key: &str) -> Option<Value<'p, G>> {
        let found = self.pairs()?.filter(|(name, _)| name.as_str() == Some(key)).last();
        found.map(|(_, value)| value)
    }

    /// A global of the allow-list.
    pub fn as_global(self) -> Option<G> {
        match *self.node() {
            Node::Global(global) => Some(global),
            _ => None,
        }
    }

    /// A call of a global of the allow-list.
    pub fn as_call(self) -> Option<Call<'p, G>> {
        match self.node() {
            Node::Call(node) => Some(Call {
                callable: node.callable,
                args: self.of(node.args),
                state: node.state.map(|id| self.of(id)),
                node,
                arena: self.arena,
            }),
            _ => None,
        }
    }

    /// The id of an object outside the pickle; PyTorch stores tensors' elements like this.
    pub fn as_persistent(self) -> Option<Value<'p, G>> {
        match *self.node() {
            Node::Persistent(id) => Some(self.of(id)),
            _ => None,
        }
    }

    /// The type of the value, for messages.
    pub fn kind(self) -> &'static str {
        match self.node() {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) => "an int",
            Node::Float(_) => "a float",
            Node::Bytes(_) => "bytes",
            Node::Str(_) => "a string",
            Node::Items(Sequence::List, _) => "a list",
            Node::Items(Sequence::Tuple, _) => "a tuple",
            Node::Items(Sequence::Set, _) => "a set",
            Node::Dict(_) => "a dictionary",
            Node::Global(_) => "a class or function",
            Node::Call(_) => "an object",
            Node::Persistent(_) => "an object outside the pickle",
        }
    }
}

impl<'p, G: Callable> Call<'p, G> {
    /// Elements that are appended to the result, such as a `deque`'s.
    pub fn items(&self) -> impl ExactSizeIterator<Item = Value<'p, G>> {
        let arena = self.arena;
        self.node.items.iter().map(move |&id| Value { arena, id })
    }

    /// Keys and values that are set in the result, such as an `OrderedDict`'s.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (Value<'p, G>, Value<'p, G>)> {
        let arena = self.arena;
        let of = move |id| Value { arena, id };
        self.node.pairs.iter().map(move |&(key, value)| (of(key), of(value)))
    }
}

impl<G: Callable> fmt::Debug for Call<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Call");
        out.field("args", &self.args).field("state", &self.state).finish_non_exhaustive()
    }
}

impl<G: Callable> fmt::Debug for Value<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (value {})", self.kind(), self.id)
    }
}
