//! Kernels that are compiled at load time, for kernel development: with the real library,
//! which needs no GPU. Alone in this file, because it sets the environment.

use alexnet_tensor::{Choice, DType, Device, Grid, Image, Planner, Result, Shape};
use cuda_on_cpu::{Behaviour, StandIn};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::path::{Path, PathBuf};
use std::{env, fs};

static IMAGE: Image = Image { op: "dropout", bytes: b"no image: a fresh kernel is taken instead" };

fn crates() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Loads the library from ALEXNET_NVRTC, a folder, or from what `cargo xtask kernels` installs, if
/// it is in one of them. It will be found by its name then, with what it loads itself.
fn load_compiler() -> bool {
    let pip = crates().join("../target/cuda-toolkit-13.0/lib");
    let versions = fs::read_dir(pip).into_iter().flatten().flatten();
    let of_pip = versions.map(|python| python.path().join("site-packages/nvidia/cu13/lib"));
    let named = env::var_os("ALEXNET_NVRTC").map(PathBuf::from);
    let mut found = Vec::new();
    for folder in named.into_iter().chain(of_pip) {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(files.map(|file| file.path()).filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libnvrtc") && !name.contains("alt")
        }));
    }
    found.sort(); // `-builtins` before `.so`
    for path in &found {
        // SAFETY: loading the toolkit's library runs nothing but its own initialisation.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
        std::mem::forget(library.unwrap()); // stays for as long as the process
    }
    !found.is_empty()
}

fn stand_in() -> Option<&'static StandIn> {
    let stand_in = cuda_on_cpu::load();
    stand_in.inspect_err(|why| assert!(why.contains("g++ did not start"), "{why}")).ok()
}

fn rehearse() -> Result<()> {
    let mut device = Device::open(Choice::Cuda(0), 0)?;
    let mut planner = Planner::new();
    let [x, y] = [0; 2].map(|_| planner.claim(DType::F32, Shape::from([8])));
    device.rehearse(|device| {
        let Device::Cuda(cuda) = device else { unreachable!("a GPU was opened") };
        let [x, y] = cuda.addresses([x, y]);
        // SAFETY: dropout_scale's parameters in their order; nothing is launched.
        unsafe { cuda.launch(&IMAGE, "dropout_scale", Grid::over(2), &[&2.0f32, &x, &y, &8u64]) }
    })
}

#[test]
fn a_source_is_compiled_where_there_is_no_image() {
    let Some(stand_in) = stand_in() else {
        return eprintln!("SKIPPED: there is no g++ for the stand-in");
    };
    stand_in.behave(Behaviour::default());
    let folder = env::temp_dir().join(format!("alexnet-nvrtc-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("cuh")).unwrap();
    for header in fs::read_dir(crates().join("kernels/cuh")).unwrap().flatten() {
        fs::copy(header.path(), folder.join("cuh").join(header.file_name())).unwrap();
    }
    let source = folder.join("dropout.cu");
    fs::copy(crates().join("kernels/src/dropout/dropout.cu"), &source).unwrap();
    // SAFETY: this process has no other test, and nothing reads the environment meanwhile.
    unsafe { env::set_var("ALEXNET_KERNELS", &folder) };

    let here = load_compiler();
    let done = rehearse();
    if here {
        done.unwrap();
        let text = fs::read_to_string(&source).unwrap().replacen("float", "flaot", 1);
        fs::write(&source, text).unwrap();
        let said = rehearse().unwrap_err().to_string();
        assert!(said.starts_with(&format!("compiling {} failed", source.display())), "{said}");
        assert!(said.contains("dropout.cu(") && said.contains("flaot"), "{said}");
    } else {
        eprintln!("SKIPPED: there is no libnvrtc here: name its folder with ALEXNET_NVRTC");
        if let Err(error) = done {
            assert!(error.to_string().contains("there is no libnvrtc here"), "{error}");
        }
    }
    // An image goes before a source.
    fs::write(folder.join("dropout.cubin"), b"\x7fELF and no more").unwrap();
    rehearse().unwrap();
    let _ = fs::remove_dir_all(&folder);
}
