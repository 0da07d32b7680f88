//! Where the values of a pickle lie.

use crate::{Error, Limits, Result};

/// A value's place in the arena.
pub(crate) type Id = u32;

/// Bytes of a string: in the input, or made from an escaped literal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) owned: bool,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// A value; those inside it by their places.
#[derive(Debug)]
pub(crate) enum Node<G> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Span),
    /// Valid UTF-8.
    Str(Span),
    Items(Sequence, Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(G),
    Call(Box<CallNode<G>>),
    Persistent(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    List,
    Tuple,
    Set,
}

/// A call that was not made, and what was to be done with its result.
#[derive(Debug)]
pub(crate) struct CallNode<G> {
    pub(crate) callable: G,
    pub(crate) args: Id,
    pub(crate) state: Option<Id>,
    pub(crate) items: Vec<Id>,
    pub(crate) pairs: Vec<(Id, Id)>,
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

    pub(crate) fn add(&mut self, node: Node<G>, limits: &Limits) -> Result<Id> {
        if self.nodes.len() >= limits.values.min(u32::MAX as usize) {
            return Err(Error::TooMuch { what: "values", limit: limits.values });
        }
        self.nodes.push(node);
        Ok(self.nodes.len() as Id - 1)
    }

    pub(crate) fn node(&self, id: Id) -> &Node<G> {
        &self.nodes[id as usize]
    }

    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        let from = if span.owned { &self.owned[..] } else { self.input };
        &from[span.start..span.start + span.len]
    }

    /// The text of a span that is known to be valid.
    pub(crate) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).expect("checked when it was made")
    }

    /// Keeps bytes that are not in the input as they are.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.owned.len();
        self.owned.extend_from_slice(bytes);
        Span { owned: true, start, len: bytes.len() }
    }

    /// Refuses cycles and deep nesting in what can be reached from `root`.
    pub(crate) fn check_depth(&self, root: Id, limit: u32) -> Result<()> {
        /// The depth below a value: not visited, being visited, or known.
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

    /// The value that lies at `position` inside another.
    fn child(&self, id: Id, position: usize) -> Option<Id> {
        let pair = |pairs: &[(Id, Id)], position: usize| {
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
