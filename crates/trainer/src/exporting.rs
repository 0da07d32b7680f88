//! `alexnet export`: writes a network for other programs.

use crate::cli::{ExportArgs, ExportFormatArg};
use crate::console;
use crate::fault::{Fault, Result};
use crate::importing;
use crate::limits;
use crate::trained::Trained;
use files::numbers::grouped;
use layers::{Row, Spec};
use serde_json::json;
use std::path::Path;
use terminal::{progress, signals};
use weights::export::{self, ExportOptions, ExportSummary, Format, Names};
use weights::import::is_own;

/// Runs the command.
///
/// # Errors
/// Exit codes 1, 2, 4, 7 as `alexnet --help` lists them.
pub fn export(args: &ExportArgs) -> Result<u8> {
    check_path(&args.to)?;
    let format = format(args)?;
    check_target(args, format)?;
    let trained = Trained::named(&args.network)?;
    let weights = &trained.model.weights;
    let mut options = ExportOptions::new(format);
    options.names = names(args, &weights.about.model)?;
    options.preprocess = args.with_preprocess;
    options.probabilities = args.probabilities;
    options.threads = args.threads.unwrap_or(0);
    let mut observer = progress::observer(args.output.progress);
    let warning = limits::too_many_threads(options.threads);
    warning.into_iter().for_each(|warning| observer.note(&warning));
    let stop = signals::listen()?;
    let mut watch = |done: u64, of: u64| {
        observer.bytes(if done < of { "export" } else { "comparison" }, done, of);
        stop.requested().is_none()
    };
    let written = export::write(weights, &args.to, &options, &mut watch)?;
    drop(observer);
    let Some(summary) = written else {
        return Ok(signals::exit_code(stop.requested().expect("it is stopped by a signal")));
    };
    print(args, &trained, &options, &summary).map(|()| 0)
}

/// Checks that the path names a file in a folder that exists.
fn check_path(path: &Path) -> Result<()> {
    let shown = path.display();
    if path.file_name().is_none() || path.is_dir() {
        return Err(Fault::usage(format!("--to {shown}: this names no file to write")));
    }
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => {
            let folder = folder.display();
            Err(Fault::usage(format!("--to {shown}: there is no folder {folder}; make it first")))
        }
        None => Ok(()),
    }
}

/// The kind of file, as typed or by the end of its name, which may not be that of another kind.
fn format(args: &ExportArgs) -> Result<Format> {
    use ExportFormatArg as F;
    let (shown, by_name) = (args.to.display(), Format::of(&args.to));
    let (typed, ending) = match args.format {
        Some(F::Onnx) => (Format::Onnx, ".onnx"),
        Some(F::Pytorch) => (Format::PyTorch, ".pth"),
        Some(F::Safetensors) => (Format::Safetensors, ".safetensors"),
        Some(F::Npz) => (Format::Npz, ".npz"),
        Some(F::Ours) => (Format::Own, ".safetensors"),
        Some(F::Torchvision) => {
            return by_name.filter(|format| *format != Format::Onnx).ok_or_else(|| {
                Fault::usage(format!(
                    "--format torchvision: {shown}: end the name in .pth, .safetensors or .npz"
                ))
            });
        }
        None => {
            return by_name.ok_or_else(|| {
                Fault::usage(format!(
                    "--to {shown}: end the name in .onnx, .pth, .safetensors or .npz, or name a \
                     --format"
                ))
            });
        }
    };
    let own = if typed == Format::Own { Format::Safetensors } else { typed };
    match by_name.filter(|by_name| *by_name != own) {
        None => Ok(typed),
        Some(other) => Err(Fault::usage(format!(
            "--format {}: {shown} has the name of {other}: end it in {ending}, or leave --format \
             out",
            word(typed)
        ))),
    }
}

/// A format as it is typed.
fn word(format: Format) -> &'static str {
    match format {
        Format::Onnx => "onnx",
        Format::PyTorch => "pytorch",
        Format::Safetensors => "safetensors",
        Format::Npz => "npz",
        _ => "ours",
    }
}

/// Checks that options suit the format, and that no weights or checkpoint of this program is
/// replaced.
fn check_target(args: &ExportArgs, format: Format) -> Result<()> {
    let flags =
        [("--with-preprocess", args.with_preprocess), ("--probabilities", args.probabilities)];
    let typed = flags.iter().find(|(_, is_typed)| *is_typed && format != Format::Onnx);
    if let Some((flag, _)) = typed {
        return Err(Fault::usage(format!(
            "{flag}: only an ONNX file has a graph; use --to NET.onnx"
        )));
    }
    if is_own(&args.to) {
        return Err(Fault::usage(format!(
            "--to {}: this is a file of this program, which the export would replace: choose \
             another name, or remove it first",
            args.to.display()
        )));
    }
    Ok(())
}

/// The names of tensors: torchvision's if the network is one of its.
fn names(args: &ExportArgs, spec: &Spec) -> Result<Names> {
    match torchvisions(spec) {
        Some(_) => Ok(Names::Sequential),
        None if args.format == Some(ExportFormatArg::Torchvision) => Err(Fault::usage(format!(
            "--format torchvision: `{}` is none of torchvision's networks ({}): leave --format out, \
             and the tensors are named after its layers",
            spec.name,
            TORCHVISION.map(|(own, _)| own).join(", ")
        ))),
        None => Ok(Names::Layers),
    }
}

/// The built-in models that torchvision has, too, with their names there.
const TORCHVISION: [(&str, &str); 5] = [
    ("torchvision", "alexnet"),
    ("vgg11", "vgg11"),
    ("vgg11-bn", "vgg11_bn"),
    ("vgg16", "vgg16"),
    ("vgg16-bn", "vgg16_bn"),
];

/// Torchvision's name of a network, whatever its classes and its dropout.
fn torchvisions(spec: &Spec) -> Option<&'static str> {
    let classes = spec.classes().ok()?;
    let plain = |spec: &Spec| {
        let mut rows = spec.rows.clone();
        for row in &mut rows {
            if let Row::Dropout(dropout) = row {
                (dropout.drop, dropout.inverted) = (0.5, true);
            }
        }
        rows
    };
    let is_same = |name: &str| {
        let model = models::find(name).expect("built in").with_classes(classes);
        model.is_ok_and(|model| model.input == spec.input && plain(&model) == plain(spec))
    };
    TORCHVISION.iter().find(|(own, _)| is_same(own)).map(|(_, theirs)| *theirs)
}

/// Prints what was written.
fn print(
    args: &ExportArgs,
    trained: &Trained,
    options: &ExportOptions,
    summary: &ExportSummary,
) -> Result<()> {
    let weights = &trained.model.weights;
    let (about, path) = (&weights.about, args.to.display());
    let theirs = torchvisions(&about.model).filter(|_| options.names == Names::Sequential);
    if args.output.json {
        return console::println(json!({
            "file": path.to_string(),
            "format": word(options.format),
            "model": about.model.name,
            "torchvision": theirs,
            "tensors": summary.tensors,
            "bytes": summary.bytes,
            "folded": summary.folded,
        }));
    }
    let bytes = grouped(summary.bytes as usize);
    console::println(format_args!(
        "{path}: {} of `{}`, {} tensors, {bytes} bytes; read back and compared",
        options.format, about.model.name, summary.tensors
    ))?;
    if let Some(name) = theirs.filter(|_| !matches!(options.format, Format::Onnx | Format::Own)) {
        console::println(format_args!(
            "for torchvision.models.{name}(num_classes={})",
            about.classes.len()
        ))?;
    }
    for (layer, factor) in &summary.folded {
        console::println(format_args!(
            "weights of {layer} x {factor}: the scale of the dropout before it in tests"
        ))?;
    }
    if !options.preprocess {
        let [height, width, _] = about.model.input;
        let input = importing::input_text(&about.input, &weights.mean.values);
        console::println(format_args!("input {height} x {width}, red, green, blue: {input}"))?;
    }
    Ok(())
}
