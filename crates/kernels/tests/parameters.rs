//! The compiled kernels take the same parameters as those that the tests run: `sm_90.txt`, which
//! `cargo xtask kernels` reads from the machine code, against the stand-in's own table.

use cuda_on_cpu::{Behaviour, StandIn};
use std::ffi::{CString, c_char, c_void};
use std::ptr::null_mut;

type Raw = *mut c_void;

/// A fatbin without entries.
const EMPTY_FATBIN: [u8; 16] = [0x50, 0xed, 0x55, 0xba, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes of each parameter of a kernel of the stand-in; `None` if it has no such kernel.
fn parameters(driver: &StandIn, module: Raw, kernel: &str) -> Option<Vec<usize>> {
    let library = driver.library();
    let name = CString::new(kernel).unwrap();
    let mut function: Raw = null_mut();
    // SAFETY: the driver has these functions with these signatures; what they write outlives them.
    unsafe {
        let get_function = library
            .get::<unsafe extern "C" fn(*mut Raw, Raw, *const c_char) -> i32>(
                b"cuModuleGetFunction",
            )
            .unwrap();
        let get_parameter = library
            .get::<unsafe extern "C" fn(Raw, usize, *mut usize, *mut usize) -> i32>(
                b"cuFuncGetParamInfo",
            )
            .unwrap();
        if get_function(&mut function, module, name.as_ptr()) != 0 {
            return None;
        }
        let sizes = (0..).map_while(|idx| {
            let (mut offset, mut size) = (0, 0);
            (get_parameter(function, idx, &mut offset, &mut size) == 0).then_some(size)
        });
        Some(sizes.collect())
    }
}

#[test]
fn compiled_kernels_have_the_parameters_of_their_sources() {
    let driver = match cuda_on_cpu::load() {
        Ok(driver) => driver,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    driver.behave(Behaviour::default());
    let mut module: Raw = null_mut();
    let image = EMPTY_FATBIN.as_ptr().cast();
    // SAFETY: the driver has this function, which reads the image's beginning.
    let loaded = unsafe {
        driver
            .library()
            .get::<unsafe extern "C" fn(*mut Raw, *const c_void) -> i32>(b"cuModuleLoadData")
            .unwrap()(&mut module, image)
    };
    assert_eq!(loaded, 0);
    let mut rows = 0;
    for row in include_str!("../sm_90.txt").lines().filter(|row| !row.starts_with('#')) {
        let cells: Vec<&str> = row.split(' ').collect();
        let compiled: Vec<usize> = cells[6].split(',').map(|size| size.parse().unwrap()).collect();
        let own = parameters(driver, module, cells[1]);
        assert_eq!(own, Some(compiled), "{} in sm_90.txt", cells[1]);
        rows += 1;
    }
    assert!(rows > 50, "{rows} kernels");
    assert_eq!(parameters(driver, module, "no_such_kernel"), None);
}
