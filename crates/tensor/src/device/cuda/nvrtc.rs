//! NVRTC, the CUDA toolkit's compiler as a library. It compiles `.cu` files of the folder
//! `ALEXNET_KERNELS`, so that a kernel can be edited without building the program. Nothing else
//! needs it.

use crate::{Error, Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char, c_void};
use std::path::Path;
use std::{env, fs};

/// The functions called here. The bindings panic if the library lacks one, so [`is_present`] checks
/// them all.
const FUNCTIONS: [&str; 7] = [
    "nvrtcCreateProgram",
    "nvrtcCompileProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetProgramLogSize",
    "nvrtcGetProgramLog",
    "nvrtcGetCUBINSize",
    "nvrtcGetCUBIN",
];

/// Compiles a `.cu` file for GPUs of this compute capability, and returns a cubin. Headers are
/// searched for in the file's folder, in the folder `cuh` there, and in `CUDA_HOME`.
pub(super) fn compile(source: &Path, (major, minor): (u32, u32)) -> Result<Vec<u8>> {
    let failed = |reason| Error::Gpu { what: format!("compiling {}", source.display()), reason };
    if !is_present() {
        let hint = "there is no libnvrtc here: install CUDA's toolkit, or give a .fatbin or .cubin";
        return Err(failed(hint.to_string()));
    }
    let text = fs::read(source).map_err(|error| failed(error.to_string()))?;
    let name = CString::new(source.to_string_lossy().as_bytes());
    let (Ok(text), Ok(name)) = (CString::new(text), name) else {
        return Err(failed("the file or its path contains a zero byte".to_string()));
    };
    let folder = source.parent().unwrap_or(Path::new("."));
    let mut options = vec![
        format!("--gpu-architecture=sm_{major}{minor}"),
        "--std=c++17".to_string(),
        format!("--include-path={}", folder.display()),
        format!("--include-path={}", folder.join("cuh").display()),
    ];
    if let Some(home) = env::var_os("CUDA_HOME") {
        let include = Path::new(&home).join("include");
        options.push(format!("--include-path={}", include.display()));
        options.push(format!("--include-path={}", include.join("cccl").display()));
    }
    let program = Program::new(&text, &name).map_err(|error| failed(error.to_string()))?;
    program.compile(&options).map_err(failed)
}

fn is_present() -> bool {
    // SAFETY: this loads the library and looks up its functions, but calls none of them.
    unsafe {
        sys::is_culib_present()
            && FUNCTIONS
                .iter()
                .all(|name| sys::culib().get::<*const c_void>(name.as_bytes()).is_ok())
    }
}

struct Program(sys::nvrtcProgram);

impl Program {
    fn new(text: &CStr, name: &CStr) -> std::result::Result<Program, result::NvrtcError> {
        result::create_program(text, Some(name)).map(Program)
    }

    /// Returns the machine code; if compiling fails, the compiler's log.
    fn compile(&self, options: &[String]) -> std::result::Result<Vec<u8>, String> {
        // SAFETY: the program was created and not destroyed; the buffer has the size that the
        // library requests.
        unsafe {
            if let Err(error) = result::compile_program(self.0, options) {
                return Err(self.log().unwrap_or_else(|| error.to_string()));
            }
            let mut size = 0;
            sys::nvrtcGetCUBINSize(self.0, &mut size).result().map_err(|e| e.to_string())?;
            let mut code = vec![0u8; size];
            let buffer = code.as_mut_ptr().cast::<c_char>();
            sys::nvrtcGetCUBIN(self.0, buffer).result().map_err(|e| e.to_string())?;
            Ok(code)
        }
    }

    fn log(&self) -> Option<String> {
        // SAFETY: the program was created and not destroyed.
        let log = unsafe { result::get_program_log(self.0) }.ok()?;
        let bytes: Vec<u8> = log.iter().map(|&byte| byte as u8).collect();
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_end_matches('\0').trim().to_string())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}
