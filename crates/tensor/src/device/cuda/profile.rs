//! The times of kernels, measured by events between launches.

use super::driver::{Context, Stream};
use super::event::Event;
use super::{Cuda, State};
use crate::Result;
use std::sync::Arc;

/// The time of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lap {
    /// Its name.
    pub kernel: &'static str,
    /// Milliseconds from the end of the previous kernel to its end.
    pub ms: f64,
}

/// Events, the first of them before any kernel.
#[derive(Debug)]
pub(super) struct Profile {
    events: Vec<Event>,
    kernels: Vec<&'static str>,
    context: Arc<Context>,
}

impl Profile {
    pub fn lap(&mut self, kernel: &'static str, stream: &Stream) -> Result<()> {
        self.kernels.push(kernel);
        self.mark(stream)
    }

    fn mark(&mut self, stream: &Stream) -> Result<()> {
        let event = Event::timed(&self.context)?;
        event.record(stream)?;
        self.events.push(event);
        Ok(())
    }
}

impl Cuda {
    /// Starts to time every launch. Replayed launches are not timed: call [`eager`](Self::eager)
    /// first.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn begin_profile(&mut self) -> Result<()> {
        assert!(self.state == State::Working, "what is recorded cannot be profiled");
        self.context.bind()?;
        let context = self.context.clone();
        let mut profile = Profile { events: Vec::new(), kernels: Vec::new(), context };
        profile.mark(&self.stream)?;
        self.profile = Some(profile);
        Ok(())
    }

    /// The number of timed launches.
    pub fn laps(&self) -> usize {
        self.profile.as_ref().map_or(0, |profile| profile.kernels.len())
    }

    /// Waits, and returns every launch since [`begin_profile`](Self::begin_profile), in order. If
    /// the host was slower than the GPU, a lap includes the time until the launch.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn end_profile(&mut self) -> Result<Vec<Lap>> {
        let Some(profile) = self.profile.take() else { return Ok(Vec::new()) };
        self.synchronize()?;
        let between = profile.events.windows(2).zip(&profile.kernels);
        let laps = between.map(|(events, &kernel)| {
            let ms = f64::from(events[0].milliseconds_to(&events[1])?);
            Ok(Lap { kernel, ms })
        });
        laps.collect()
    }
}
