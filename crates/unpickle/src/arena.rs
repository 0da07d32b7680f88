//! The storage of a pickle's values.

use crate::{Error, PickleLimits, Result};

/// The index of a value in the arena.
pub(crate) type NodeId = u32;

/// The bytes of a string: in the input, or decoded from an escaped literal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StringSpan {
    pub(crate) owned: bool,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// A value; it refers to others by their indices.
#[derive(Debug)]
pub(crate) enum Node<G> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(StringSpan),
    /// Valid UTF-8.
    Str(StringSpan),
    Items(Sequence, Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    Global(G),
    Call(Box<CallNode<G>>),
    Persistent(NodeId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    List,
    Tuple,
    Set,
}

/// A recorded call, with the operations on its result.
#[derive(Debug)]
pub(crate) struct CallNode<G> {
    pub(crate) callable: G,
    pub(crate) args: NodeId,
    pub(crate) state: Option<NodeId>,
    pub(crate) items: Vec<NodeId>,
    pub(crate) pairs: Vec<(NodeId, NodeId)>,
}

/// All values of a pickle.
#[derive(Debug)]
pub(crate) struct Arena<'a, G> {
    pub(crate) input: &'a [u8],
    pub(crate) owned: Vec<u8>,
    pub(crate) nodes: Vec<Node<G>>,
}

impl<'a, G> Arena<'a, G> {
    pub(crate) fn new(input: &'a [u8]) -> Arena<'a, G> {
        Arena { input, owned: Vec::new(), nodes: Vec::new() }
    }

    pub(crate) fn add(&mut self, node: Node<G>, limits: &PickleLimits) -> Result<NodeId> {
        if self.nodes.len() >= limits.values.min(u32::MAX as usize) {
            return Err(Error::TooMuch { what: "values", limit: limits.values });
        }
        self.nodes.push(node);
        Ok(self.nodes.len() as NodeId - 1)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node<G> {
        &self.nodes[id as usize]
    }

    pub(crate) fn bytes(&self, span: StringSpan) -> &[u8] {
        let from = if span.owned { &self.owned[..] } else { self.input };
        &from[span.start..span.start + span.len]
    }

    /// The text of a span that is valid UTF-8.
    pub(crate) fn text(&self, span: StringSpan) -> &str {
        std::str::from_utf8(self.bytes(span)).expect("checked when it was added")
    }

    /// Stores bytes that differ from the input.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> StringSpan {
        let start = self.owned.len();
        self.owned.extend_from_slice(bytes);
        StringSpan { owned: true, start, len: bytes.len() }
    }

    /// Rejects cycles and deep nesting below `root`.
    pub(crate) fn check_depth(&self, root: NodeId, limit: u32) -> Result<()> {
        /// The depth below a value: 0 if not visited, `OPEN` while it is being visited.
        const OPEN: u32 = u32::MAX;
        let mut depths = vec![0; self.nodes.len()];
        let mut stack = vec![(root, 0)];
        depths[root as usize] = OPEN;
        while let Some((id, next)) = stack.last_mut() {
            let (id, child) = (*id, self.child(*id, *next));
            *next += 1;
            let Some(child) = child else {
                stack.pop();
                let mut depth = 0;
                let mut position = 0;
                while let Some(child) = self.child(id, position) {
                    depth = depth.max(depths[child as usize]);
                    position += 1;
                }
                depths[id as usize] = depth + 1;
                continue;
            };
            match depths[child as usize] {
                0 => {
                    depths[child as usize] = OPEN;
                    stack.push((child, 0));
                }
                OPEN => return Err(Error::Cycle),
                _ => {}
            }
        }
        if depths[root as usize] > limit.saturating_add(1) {
            return Err(Error::TooMuch { what: "levels of nesting", limit: limit as usize });
        }
        Ok(())
    }

    /// The child at `position` of a value.
    fn child(&self, id: NodeId, position: usize) -> Option<NodeId> {
        let pair = |pairs: &[(NodeId, NodeId)], position: usize| {
            let (key, value) = *pairs.get(position / 2)?;
            Some(if position.is_multiple_of(2) { key } else { value })
        };
        match self.node(id) {
            Node::Items(_, items) => items.get(position).copied(),
            Node::Dict(pairs) => pair(pairs, position),
            Node::Persistent(inner) => (position == 0).then_some(*inner),
            Node::Call(call) => {
                let inside = [call.args, call.state.unwrap_or(call.args)];
                match position.checked_sub(inside.len()) {
                    None => Some(inside[position]),
                    Some(position) => match position.checked_sub(call.items.len()) {
                        None => Some(call.items[position]),
                        Some(position) => pair(&call.pairs, position),
                    },
                }
            }
            _ => None,
        }
    }
}
