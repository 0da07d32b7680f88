//! CUDA graphs: a step is recorded once and replayed.

use super::driver::{self, Context, failed};
use super::{Cuda, State};
use crate::Result;
use cudarc::driver::{result, sys};
use std::sync::Arc;

/// A recorded step; see [`Device::replay`](crate::Device::replay).
#[derive(Debug, Default)]
pub struct Recording(Option<Graph>);

#[derive(Debug)]
struct Graph {
    raw: sys::CUgraphExec,
    /// The reservation of memory whose addresses it contains.
    reservation: u64,
    launches: usize,
    _context: Arc<Context>,
}

// SAFETY: a graph belongs to a context, not to a thread, and is launched through `&mut`.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once, destroyed once.
        let _ = unsafe { result::graph::exec_destroy(self.raw) };
    }
}

impl Recording {
    /// The number of launches in it; 0 if nothing is recorded.
    pub fn launches(&self) -> usize {
        self.0.as_ref().map_or(0, |graph| graph.launches)
    }
}

impl Cuda {
    /// Launches the recorded graph; returns false if there is none, or it is invalid.
    pub(in crate::device) fn replay(&mut self, recording: &Recording) -> Result<bool> {
        let Some(graph) = &recording.0 else { return Ok(false) };
        if graph.reservation != self.reservation {
            return Ok(false);
        }
        self.join()?;
        // SAFETY: the graph and the memory it works on are alive.
        unsafe { result::graph::launch(graph.raw, self.stream.raw) }
            .map_err(failed("a recorded step"))?;
        Ok(true)
    }

    /// Whether work is recorded: kernels inside a graph cannot be waited for or timed.
    pub(in crate::device) fn records(&self) -> bool {
        !driver::blocking() && !self.eager && self.profile.is_none() && self.state == State::Working
    }

    pub(in crate::device) fn is_rehearsing(&self) -> bool {
        self.state == State::Rehearsing
    }

    pub(in crate::device) fn begin_rehearsal(&mut self) {
        assert!(self.state == State::Working, "a rehearsal inside a recording or a rehearsal");
        (self.state, self.launches) = (State::Rehearsing, 0);
    }

    /// Returns the number of launches.
    pub(in crate::device) fn end_rehearsal(&mut self) -> usize {
        self.state = State::Working;
        self.launches
    }

    pub(in crate::device) fn begin_recording(&mut self) -> Result<()> {
        self.join()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive and not the null stream.
        unsafe { result::stream::begin_capture(self.stream.raw, mode) }
            .map_err(failed("recording a step"))?;
        (self.state, self.launches) = (State::Recording, 0);
        Ok(())
    }

    pub(in crate::device) fn end_recording(&mut self) -> Result<Recording> {
        self.state = State::Working;
        let failed = failed("recording a step");
        // SAFETY: the stream is being captured; the graph is destroyed once, here.
        let raw = unsafe {
            let graph = result::stream::end_capture(self.stream.raw).map_err(&failed)?;
            let raw = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            raw.map_err(&failed)?
        };
        let (reservation, launches) = (self.reservation, self.launches);
        let graph = Graph { raw, reservation, launches, _context: self.context.clone() };
        // SAFETY: both are alive.
        unsafe { result::graph::upload(graph.raw, self.stream.raw) }.map_err(&failed)?;
        Ok(Recording(Some(graph)))
    }
}
