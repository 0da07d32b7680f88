//! A run on the whole screen: curves, a table of validations, and a bar.
//!
//! [`follow`] draws what a closure reads again and again, until the run or the user ends it.
//! [`View::to_text`] is the same as text, without curves.

mod draw;

use crate::progress::{bar, table};
use crate::{Error, Result};
use evaluate::Stop;
use evaluate::observe::{StepReport, ValidationReport};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use report::{Curves, duration, percent};
use std::time::{Duration, Instant};

/// A run at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Its folder.
    pub name: String,
    /// Its network and device: `alexnet-64, cpu, 2 threads`.
    pub setup: String,
    /// Its state: `running`, or why it ended.
    pub state: String,
    /// Whether it is over.
    pub has_ended: bool,
    /// Whether an error ended it.
    pub has_failed: bool,
    /// Its measurements.
    pub curves: Curves,
    /// The progress of its last logged step.
    pub step: Option<StepReport>,
    /// Its validations, each with the last step before it; the best one is marked.
    pub validations: Vec<(ValidationReport, Option<StepReport>)>,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Its last warning, if there is one.
    pub warning: Option<String>,
}

/// Why [`follow`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The user left.
    Left,
    /// The run ended.
    RunEnded,
    /// A signal, or Ctrl-C, which is no signal while the screen is in use.
    Signal(usize),
}

/// How often the run is read.
const READ: Duration = Duration::from_millis(500);
/// How soon a signal is noticed.
const TICK: Duration = Duration::from_millis(100);
const SIGINT: usize = 2;

/// Shows a run on the whole screen until it ends, or the user leaves; a run that has ended is shown
/// until the user leaves. `read` is called twice a second. The terminal is restored.
///
/// # Errors
/// [`Error::Screen`], and those of `read`.
pub fn follow<E: From<Error>>(
    stop: &Stop,
    mut read: impl FnMut() -> std::result::Result<View, E>,
) -> std::result::Result<Ending, E> {
    let mut view = read()?;
    let stays = view.has_ended;
    let mut screen = Screen::open()?;
    let (mut scroll, mut last) = (0, Instant::now());
    loop {
        screen.draw(&view, &mut scroll)?;
        match screen.key()? {
            Some(Key::Leave) => return Ok(Ending::Left),
            Some(Key::Interrupt) => return Ok(Ending::Signal(SIGINT)),
            Some(Key::Scroll(rows)) => scroll = scroll.saturating_add_signed(rows),
            None => {}
        }
        if let Some(signal) = stop.requested() {
            return Ok(Ending::Signal(signal));
        }
        if last.elapsed() >= READ {
            (view, last) = (read()?, Instant::now());
            if view.has_ended && !stays {
                return Ok(Ending::RunEnded);
            }
        }
    }
}

impl View {
    /// The table of validations and the progress, for a terminal of `columns` columns.
    pub fn to_text(&self, columns: usize) -> String {
        let mut lines = vec![format!("{}: {}", self.name, self.state), self.summary()];
        if !self.validations.is_empty() {
            lines.extend(table::lines(&self.validations, columns));
        }
        lines.extend(self.bar(columns));
        lines.extend(self.warning.iter().map(|text| format!("WARNING: {text}")));
        lines.join("\n") + "\n"
    }

    /// The bar with the progress; `None` before the first step.
    fn bar(&self, columns: usize) -> Option<String> {
        let step = self.step.as_ref()?;
        let share = step.step as f64 / step.steps.max(1) as f64;
        let mut parts = bar::parts(step).to_vec();
        if self.has_ended {
            parts.pop(); // the time left
        }
        Some(bar::line(&bar::epoch(step), share, &parts, columns))
    }

    /// The best validation, the time and the set-up.
    fn summary(&self) -> String {
        let best = self.validations.iter().find(|(validation, _)| validation.is_best);
        let best = best.map(|(best, _)| {
            format!("best {} in epoch {}", percent(best.score.top1_error), best.epoch)
        });
        let parts = [best, Some(duration(self.seconds)), Some(self.setup.clone())];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Leave,
    Interrupt,
    /// By so many rows, towards the first if positive.
    Scroll(isize),
}

impl Key {
    fn of(key: KeyEvent) -> Option<Key> {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                Some(Key::Interrupt)
            }
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Leave),
            KeyCode::Up => Some(Key::Scroll(1)),
            KeyCode::Down => Some(Key::Scroll(-1)),
            KeyCode::PageUp => Some(Key::Scroll(10)),
            KeyCode::PageDown => Some(Key::Scroll(-10)),
            KeyCode::Home => Some(Key::Scroll(isize::MAX)),
            KeyCode::End => Some(Key::Scroll(isize::MIN)),
            _ => None,
        }
    }
}

/// The screen in use; restored when dropped, and after a panic.
struct Screen(ratatui::DefaultTerminal);

impl Screen {
    fn open() -> Result<Screen> {
        ratatui::try_init().map(Screen).map_err(Error::Screen)
    }

    fn draw(&mut self, view: &View, scroll: &mut usize) -> Result<()> {
        let drawn = self.0.draw(|frame| draw::draw(frame, view, scroll));
        drawn.map(drop).map_err(Error::Screen)
    }

    /// The next key within [`TICK`]. A new size of the terminal ends the wait.
    fn key(&self) -> Result<Option<Key>> {
        if !event::poll(TICK).map_err(Error::Screen)? {
            return Ok(None);
        }
        match event::read().map_err(Error::Screen)? {
            Event::Key(key) if key.kind == KeyEventKind::Press => Ok(Key::of(key)),
            _ => Ok(None),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone cannot be restored.
        let _ = ratatui::try_restore();
    }
}

#[cfg(test)]
mod tests;
