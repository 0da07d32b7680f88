//! The programs of `--peer`.

use super::{Cli, TableName};
use alexnet_benches::{Engine, PeerMode, StepMode};
use clap::ValueEnum;

/// The program of `--peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    Torch,
    Openvino,
    Onnxruntime,
}

impl PeerKind {
    /// In titles and messages.
    pub fn title(self) -> &'static str {
        self.engine().map_or("PyTorch", Engine::title)
    }

    /// The program, if it reads ONNX models.
    pub fn engine(self) -> Option<Engine> {
        match self {
            PeerKind::Torch => None,
            PeerKind::Openvino => Some(Engine::OpenVino),
            PeerKind::Onnxruntime => Some(Engine::OnnxRuntime),
        }
    }
}

/// What a step is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opponent {
    Torch(PeerMode),
    Onnx(Engine),
}

impl Opponent {
    /// In tables and saved results.
    pub fn name(self) -> &'static str {
        match self {
            Opponent::Torch(form) => form.name(),
            Opponent::Onnx(engine) => engine.name(),
        }
    }
}

impl Cli {
    /// The program that steps are compared with, if it reads ONNX models.
    pub fn engine(&self) -> Option<Engine> {
        self.peer.and_then(PeerKind::engine)
    }

    /// Checks what the types do not: only PyTorch trains, and has several forms.
    pub fn check(&self) -> Result<(), String> {
        let Some(engine) = self.engine() else { return Ok(()) };
        let title = engine.title();
        if self.mode.contains(&StepMode::Train) {
            return Err(format!("{title} is compared in inference only, not with --mode train"));
        }
        if !self.form.is_empty() {
            return Err(format!("--form is for PyTorch, not for {title}"));
        }
        match self.table.iter().find(|&&table| table != TableName::Steps) {
            Some(_) => Err(format!("{title} has only the table `steps`")),
            None => Ok(()),
        }
    }

    /// The name of the table of steps.
    pub fn steps_title(&self) -> String {
        self.engine().map_or("steps".to_string(), |engine| format!("steps {}", engine.name()))
    }

    /// What steps of a mode are compared with.
    pub fn opponents(&self, mode: StepMode) -> Vec<Opponent> {
        match self.engine() {
            Some(engine) => vec![Opponent::Onnx(engine)],
            None => self.forms(mode).into_iter().map(Opponent::Torch).collect(),
        }
    }
}
