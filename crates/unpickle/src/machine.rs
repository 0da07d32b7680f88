//! Executes the instructions of a pickle.
//!
//! Instructions have the names of Python's `pickletools`, which documents them.

mod input;

use crate::arena::{Arena, CallNode, Node, NodeId, Sequence, StringSpan};
use crate::{Callable, Error, Pickle, PickleLimits, Result, text};
use std::collections::HashMap;

/// The limit of lines in protocol 0 other than strings: numbers, names, and memo keys.
const LONGEST_LINE: usize = 4096;

/// Parses a pickle.
///
/// # Errors
/// If it is incomplete or followed by other data, uses a global that `G` does not allow, exceeds
/// `limits`, or uses an unsupported feature (see the [crate]'s page).
pub fn load<'a, G: Callable>(bytes: &'a [u8], limits: &PickleLimits) -> Result<Pickle<'a, G>> {
    let (pickle, len) = load_prefix(bytes, limits)?;
    if len == bytes.len() { Ok(pickle) } else { Err(damaged(len, "data after the end")) }
}

/// As [`load`], for bytes that may continue after the pickle; also returns its length.
///
/// # Errors
/// As [`load`].
pub fn load_prefix<'a, G: Callable>(
    bytes: &'a [u8],
    limits: &PickleLimits,
) -> Result<(Pickle<'a, G>, usize)> {
    let mut machine = PickleMachine {
        arena: Arena::new(bytes),
        limits: *limits,
        at: 0,
        begin: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    let root = machine.pop()?;
    machine.arena.check_depth(root, limits.depth)?;
    Ok((Pickle { arena: machine.arena, root }, machine.at))
}

fn damaged(at: usize, reason: &str) -> Error {
    Error::Damaged { at, reason: reason.to_owned() }
}

struct PickleMachine<'a, G> {
    arena: Arena<'a, G>,
    limits: PickleLimits,
    /// The offset of the next byte.
    at: usize,
    /// The offset of the current instruction.
    begin: usize,
    stack: Vec<NodeId>,
    /// The heights of the stack at each `MARK`.
    marks: Vec<usize>,
    memo: HashMap<u64, NodeId>,
}

impl<'a, G: Callable> PickleMachine<'a, G> {
    /// Executes an instruction; returns `false` after `STOP`.
    fn step(&mut self) -> Result<bool> {
        self.begin = self.at;
        let [code] = self.array()?;
        match code {
            b'.' => return Ok(false),
            0x80 => match self.array()? {
                [0..=5] => {}
                [version] => {
                    return Err(self.wrong(&format!("protocol {version} is not supported")));
                }
            },
            0x95 => drop(self.array::<8>()?), // the length of a frame, which only helps buffering
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'(' => {
                self.check_room(self.marks.len(), "marks")?;
                self.marks.push(self.stack.len());
            }
            b'N' => self.make(Node::None)?,
            0x88 => self.make(Node::Bool(true))?,
            0x89 => self.make(Node::Bool(false))?,
            b'I' | b'J' | b'K' | b'L' | b'M' | b'F' | b'G' | 0x8a | 0x8b => self.number(code)?,
            b'S' | b'T' | b'U' | b'V' | b'X' | b'B' | b'C' | 0x8c..=0x8e | 0x96 => {
                self.string(code)?;
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(code)?,
            b']' | b'}' | b')' | b'l' | b'd' | b't' | 0x85..=0x87 | 0x8f | 0x91 => {
                self.container(code)?;
            }
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(code)?,
            b'c' | 0x93 | b'i' | b'o' => self.named(code)?,
            b'R' | 0x81 | 0x92 | b'b' | b'P' | b'Q' => self.object(code)?,
            0x82..=0x84 => return Err(self.wrong("extension codes are not supported")),
            0x97 | 0x98 => return Err(self.wrong("out-of-band buffers are not supported")),
            _ => return Err(self.wrong(&format!("byte {code:#04x} is not an instruction"))),
        }
        Ok(true)
    }

    fn number(&mut self, code: u8) -> Result<()> {
        let node = match code {
            b'I' => match self.line(LONGEST_LINE)? {
                b"00" => Node::Bool(false),
                b"01" => Node::Bool(true),
                line => Node::Int(text::integer(line).map_err(|reason| self.wrong(reason))?),
            },
            b'L' => {
                let line = self.line(LONGEST_LINE)?;
                Node::Int(text::integer(line).map_err(|reason| self.wrong(reason))?)
            }
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Node::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            b'F' => {
                let line = self.line(LONGEST_LINE)?;
                Node::Float(text::float(line).map_err(|reason| self.wrong(reason))?)
            }
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            _ => {
                let len = if code == 0x8a { self.len::<1>()? } else { self.len::<4>()? };
                let bytes = self.take(len)?;
                Node::Int(text::long(bytes).map_err(|reason| self.wrong(reason))?)
            }
        };
        self.make(node)
    }

    fn string(&mut self, code: u8) -> Result<()> {
        match code {
            b'S' => {
                let line = self.line(usize::MAX)?;
                let bytes = text::quoted(line).map_err(|reason| self.wrong(reason))?;
                let span = self.arena.keep(&bytes);
                return self.make(Node::Bytes(span));
            }
            b'V' => {
                let line = self.line(usize::MAX)?;
                let text = text::raw_unicode(line).map_err(|reason| self.wrong(reason))?;
                let span = self.arena.keep(text.as_bytes());
                return self.make(Node::Str(span));
            }
            _ => {}
        }
        let len = match code {
            b'U' | b'C' | 0x8c => self.len::<1>()?,
            b'T' | b'X' | b'B' => self.len::<4>()?,
            _ => self.len::<8>()?,
        };
        let span = StringSpan { owned: false, start: self.at, len };
        let bytes = self.take(len)?;
        if matches!(code, b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96) {
            return self.make(Node::Bytes(span));
        }
        if std::str::from_utf8(bytes).is_err() {
            return Err(self.wrong("a text that is not UTF-8"));
        }
        self.make(Node::Str(span))
    }

    fn memo(&mut self, code: u8) -> Result<()> {
        let key = match code {
            b'p' | b'g' => {
                let key = text::integer(self.line(LONGEST_LINE)?);
                let key = key.map_err(|reason| self.wrong(reason))?;
                u64::try_from(key).map_err(|_| self.wrong("a negative memo key"))?
            }
            b'q' | b'h' => u8::from_le_bytes(self.array()?).into(),
            b'r' | b'j' => u32::from_le_bytes(self.array()?).into(),
            _ => self.memo.len() as u64,
        };
        if matches!(code, b'g' | b'h' | b'j') {
            let known = self.memo.get(&key).copied();
            let id = known.ok_or_else(|| self.wrong("an undefined memo key"))?;
            return self.push(id);
        }
        self.check_room(self.memo.len(), "memo entries")?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn container(&mut self, code: u8) -> Result<()> {
        use Sequence::{List, Set, Tuple};
        let node = match code {
            b']' => Node::Items(List, Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            b')' => Node::Items(Tuple, Vec::new()),
            0x8f => Node::Items(Set, Vec::new()),
            b'l' => Node::Items(List, self.pop_mark()?),
            b't' => Node::Items(Tuple, self.pop_mark()?),
            0x91 => Node::Items(Set, self.pop_mark()?),
            b'd' => {
                let items = self.pop_mark()?;
                Node::Dict(self.pairs(&items)?)
            }
            _ => {
                let count = usize::from(code - 0x84);
                let items = (0..count).map(|_| self.pop()).collect::<Result<Vec<NodeId>>>()?;
                Node::Items(Tuple, items.into_iter().rev().collect())
            }
        };
        self.make(node)
    }

    /// Adds elements to a list or set, or entries to a dictionary, which stays on the stack.
    fn fill(&mut self, code: u8) -> Result<()> {
        let values = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let into = self.top()? as usize;
        if matches!(code, b's' | b'u') {
            let pairs = self.pairs(&values)?;
            match &mut self.arena.nodes[into] {
                Node::Dict(known) => known.extend(pairs),
                Node::Call(call) => call.pairs.extend(pairs),
                _ => return Err(self.wrong("entries for a value that is not a dictionary")),
            }
            return Ok(());
        }
        let wanted = if code == 0x90 { Sequence::Set } else { Sequence::List };
        match &mut self.arena.nodes[into] {
            Node::Items(kind, known) if *kind == wanted => known.extend(values),
            Node::Call(call) => call.items.extend(values),
            _ => return Err(self.wrong("elements for a value that is not a list or set")),
        }
        Ok(())
    }

    /// Globals, and calls with a named global.
    fn named(&mut self, code: u8) -> Result<()> {
        match code {
            b'c' | b'i' => {
                let module = self.line(LONGEST_LINE)?;
                let name = self.line(LONGEST_LINE)?;
                let global = self.find(module, name)?;
                if code == b'c' {
                    return self.make(Node::Global(global));
                }
                let args = self.pop_mark()?;
                self.make(Node::Items(Sequence::Tuple, args))?;
                let args = self.pop()?;
                self.call(global, args)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let [module, name] = [module, name].map(|id| match *self.arena.node(id) {
                    Node::Str(span) | Node::Bytes(span) => Some(self.arena.bytes(span)),
                    _ => None,
                });
                let (Some(module), Some(name)) = (module, name) else {
                    return Err(self.wrong("a global whose name is not text"));
                };
                let global = self.find(module, name)?;
                self.make(Node::Global(global))
            }
            _ => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return Err(self.wrong("nothing to call"));
                }
                let global = self.global(args.remove(0))?;
                self.make(Node::Items(Sequence::Tuple, args))?;
                let args = self.pop()?;
                self.call(global, args)
            }
        }
    }

    fn object(&mut self, code: u8) -> Result<()> {
        match code {
            b'b' => {
                let (state, top) = (self.pop()?, self.top()?);
                match &mut self.arena.nodes[top as usize] {
                    Node::Call(call) if call.state.is_none() => call.state = Some(state),
                    _ => return Err(self.wrong("a state for a value that takes none")),
                }
                Ok(())
            }
            b'P' => {
                let (start, len) = (self.at, self.line(LONGEST_LINE)?.len());
                self.make(Node::Bytes(StringSpan { owned: false, start, len }))?;
                let id = self.pop()?;
                self.make(Node::Persistent(id))
            }
            b'Q' => {
                let id = self.pop()?;
                self.make(Node::Persistent(id))
            }
            _ => {
                if code == 0x92 {
                    let keywords = self.pop()?;
                    if !matches!(self.arena.node(keywords), Node::Dict(pairs) if pairs.is_empty()) {
                        return Err(self.wrong("a call with keyword arguments"));
                    }
                }
                let (args, callable) = (self.pop()?, self.pop()?);
                let global = self.global(callable)?;
                self.call(global, args)
            }
        }
    }

    fn call(&mut self, callable: G, args: NodeId) -> Result<()> {
        if !matches!(self.arena.node(args), Node::Items(Sequence::Tuple, _)) {
            return Err(self.wrong("arguments that are not a tuple"));
        }
        let (items, pairs) = (Vec::new(), Vec::new());
        self.make(Node::Call(Box::new(CallNode { callable, args, state: None, items, pairs })))
    }

    fn global(&self, id: NodeId) -> Result<G> {
        match *self.arena.node(id) {
            Node::Global(global) => Ok(global),
            _ => Err(self.wrong("a call of a value that is not a class or function")),
        }
    }

    fn find(&self, module: &[u8], name: &[u8]) -> Result<G> {
        let texts = [module, name].map(std::str::from_utf8);
        if let [Ok(module), Ok(name)] = texts
            && let Some(global) = G::find(module, name)
        {
            return Ok(global);
        }
        let shown = [module, name].map(|part| {
            let text = String::from_utf8_lossy(&part[..part.len().min(100)]);
            text.escape_debug().to_string()
        });
        Err(Error::NotAllowed(shown.join(".")))
    }

    fn pairs(&self, values: &[NodeId]) -> Result<Vec<(NodeId, NodeId)>> {
        let (pairs, rest) = values.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.wrong("a key without a value"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn make(&mut self, node: Node<G>) -> Result<()> {
        let id = self.arena.add(node, &self.limits)?;
        self.push(id)
    }

    fn push(&mut self, id: NodeId) -> Result<()> {
        self.check_room(self.stack.len(), "elements on its stack")?;
        self.stack.push(id);
        Ok(())
    }

    fn check_room(&self, len: usize, what: &'static str) -> Result<()> {
        let limit = self.limits.values;
        if len < limit { Ok(()) } else { Err(Error::TooMuch { what, limit }) }
    }

    /// The top of the stack, above the last mark.
    fn top(&self) -> Result<NodeId> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > bottom => Ok(id),
            _ => Err(self.wrong("a value is missing from the stack")),
        }
    }

    fn pop(&mut self) -> Result<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<NodeId>> {
        let mark = self.marks.pop().ok_or_else(|| self.wrong("no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }

    fn wrong(&self, reason: &str) -> Error {
        damaged(self.begin, reason)
    }
}
