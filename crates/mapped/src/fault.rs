//! Turns SIGBUS into an error.
//!
//! A thread registers the mapping that it copies from. If the copy raises SIGBUS, the handler marks
//! the mapping as broken and maps a page of zeros over the missing one, so that the copy can
//! finish; it then fails because of the mark. Zeros and mark are permanent.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A mapping's address range, and whether a page of it was missing.
#[derive(Debug)]
pub(crate) struct Watch {
    start: usize,
    len: usize,
    broken: AtomicBool,
}

thread_local! {
    /// The mapping that this thread is copying from.
    static CURRENT: Cell<*const Watch> = const { Cell::new(null()) };
}

/// Unregisters this thread's mapping, even if a copy panics.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        CURRENT.set(null());
    }
}

impl Watch {
    pub(crate) fn new(start: usize, len: usize) -> Watch {
        Watch { start, len, broken: AtomicBool::new(false) }
    }

    /// Runs `copy`, which reads from the mapping and from nothing else that could be missing.
    pub(crate) fn during(&self, copy: impl FnOnce()) -> io::Result<()> {
        CURRENT.set(self);
        let ended = Ended;
        // The handler runs on this thread, so only the compiler could move the copy past these.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        copy();
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        drop(ended);
        // Checked after the copy: zeros are mapped only after the mark is set, so a thread that has
        // copied zeros sees the mark, whichever thread received the signal.
        if !self.broken.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file was cut short, or its disk failed, while it was in use",
            ))
        }
    }
}

/// The action of SIGBUS before ours.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once per process.
pub(crate) fn handle() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only a query, which fills `before`.
    if unsafe { libc::sigaction(libc::SIGBUS, null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the call above; all zeros are valid, too.
    let before = unsafe { before.assume_init() };
    let mut result = Ok(());
    // Stored before the handler can run; later callers wait here until it is installed.
    BEFORE.get_or_init(|| {
        // SAFETY: a structure of plain integers, for which zeros are valid.
        let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        ours.sa_sigaction = on_fault as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `on_fault` has the signature that SA_SIGINFO requires, and is async-signal-safe:
        // it reads and writes words, and makes system calls.
        if unsafe { libc::sigaction(libc::SIGBUS, &ours, null_mut()) } != 0 {
            result = Err(io::Error::last_os_error());
        }
        before
    });
    result
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the system passes a complete structure with this signal; for a sent signal the
    // address has no meaning, and is not used.
    let (is_fault, address) = unsafe { ((*info).si_code > 0, (*info).si_addr() as usize) };
    // SAFETY: null, or set by `during`, which borrows its `Watch` until it is null again.
    let watch = unsafe { CURRENT.get().as_ref() };
    let is_ours = |watch: &&Watch| is_fault && address.wrapping_sub(watch.start) < watch.len;
    if let Some(watch) = watch.filter(is_ours) {
        watch.broken.store(true, Ordering::SeqCst);
        if put_zeros(address) {
            return; // the copy continues
        }
    }
    pass_on(signal, info, context, is_fault);
}

/// Maps a page of zeros over the page of this address.
fn put_zeros(address: usize) -> bool {
    // SAFETY: only a query.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let place = (address / page * page) as *mut libc::c_void;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page belongs to a mapping that the interrupted thread is copying from: it is
    // mapped read-only, and no reference to it exists.
    let put = unsafe { libc::mmap(place, page, libc::PROT_READ, flags, -1, 0) };
    put != libc::MAP_FAILED
}

/// Does what would have been done without our handler.
fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    is_fault: bool,
) {
    let Some(before) = BEFORE.get() else { return };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_IGN && !is_fault {
        return; // a sent signal is ignored as before, and our handler stays
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // A fault occurs again right after this and ends the process; the system does so even if
        // SIGBUS is ignored. A sent signal does not occur again, and is sent again.
        // SAFETY: `before` is the system's; `raise` may be called in a handler.
        unsafe {
            libc::sigaction(signal, before, null_mut());
            libc::raise(signal);
        }
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: according to the system, this is the address of such a function.
        let handler = unsafe { std::mem::transmute::<usize, Full>(handler) };
        handler(signal, info, context);
    } else {
        type Short = extern "C" fn(libc::c_int);
        // SAFETY: as above; without SA_SIGINFO it takes only the signal.
        let handler = unsafe { std::mem::transmute::<usize, Short>(handler) };
        handler(signal);
    }
}
