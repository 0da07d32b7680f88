//! Whether this process can use AMX: tile registers that multiply bf16.
//!
//! The processor must have them, and the operating system must save them at context switches. Linux
//! (5.16 and later) does so for a process that has requested it once with `arch_prctl`; a sandbox
//! may refuse. The crate `kernels` uses the tiles.

use std::sync::OnceLock;

/// Checks that AMX can multiply bf16 here. The first call requests it from the system for the whole
/// process.
///
/// # Errors
/// The reason why it cannot.
pub fn amx() -> Result<(), &'static str> {
    static AMX: OnceLock<Result<(), &'static str>> = OnceLock::new();
    *AMX.get_or_init(find)
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn find() -> Result<(), &'static str> {
    Err("AMX is used on x86-64 under Linux alone")
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn find() -> Result<(), &'static str> {
    if super::Vectors::limit() < super::Vectors::Avx512 {
        return Err("vectors are kept narrower than AMX comes with");
    }
    // Operands are rounded with AVX-512; every processor with AMX has it.
    let rounds = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16");
    if !(rounds && has_tiles()) {
        return Err("this processor has no AMX");
    }
    if !keeps_tiles() {
        return Err("the operating system does not keep AMX's registers (Linux does since 5.16)");
    }
    if !ask() {
        return Err("the operating system does not let this process use AMX");
    }
    Ok(())
}

/// `AMX-TILE` and `AMX-BF16` of leaf 7.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    leaf.edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
}

/// The tiles' and their configuration's bits of XCR0.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn keeps_tiles() -> bool {
    const TILES: u64 = 0b11 << 17;
    if !is_x86_feature_detected!("xsave") {
        return false;
    }
    // SAFETY: the system has enabled XSAVE, so that XGETBV can be executed.
    let kept = unsafe { std::arch::x86_64::_xgetbv(0) };
    kept & TILES == TILES
}

/// Asks Linux for the tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: this call has two numbers for arguments and changes no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}
