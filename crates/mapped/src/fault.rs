//! SIGBUS as an error.
//!
//! A thread says which mapping it is copying from. If that raises SIGBUS, the handler marks the
//! mapping as broken and puts a page of zeros in place of the one that is missing, so that the copy
//! comes to its end; then it fails by the mark. The zeros stay, and so does the mark.

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A mapping's place, and whether a page of it was missing.
#[derive(Debug)]
pub(crate) struct Watch {
    start: usize,
    len: usize,
    broken: AtomicBool,
}

thread_local! {
    /// The mapping that this thread is copying from.
    static AT_HAND: Cell<*const Watch> = const { Cell::new(null()) };
}

/// Takes this thread's mapping back, even if a copy panics.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        AT_HAND.set(null());
    }
}

impl Watch {
    pub(crate) fn new(start: usize, len: usize) -> Watch {
        Watch { start, len, broken: AtomicBool::new(false) }
    }

    /// Does `copy`, which reads from the mapping and nothing else that could be missing.
    pub(crate) fn during(&self, copy: impl FnOnce()) -> io::Result<()> {
        AT_HAND.set(self);
        let ended = Ended;
        // The handler runs on this thread: the compiler alone could move the copy past these.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        copy();
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        drop(ended);
        // Asked afterwards: a page of zeros is put in place only after the mark, so whoever has
        // copied zeros finds it, on whichever thread the signal was.
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

/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler, once in the life of the process.
pub(crate) fn handle() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: only asks; what it says fills `before`.
    if unsafe { libc::sigaction(libc::SIGBUS, null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled by the call above; all zeros would be one, too.
    let before = unsafe { before.assume_init() };
    let mut result = Ok(());
    // Kept before the handler may run; whoever is later waits here until it is installed.
    BEFORE.get_or_init(|| {
        // SAFETY: a structure of plain words, for which zeros are a value.
        let mut ours: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        ours.sa_sigaction = on_fault as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `on_fault` is a handler of the kind that SA_SIGINFO asks for, and does only what
        // a handler may: it reads and writes words, and calls the system.
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
    // SAFETY: the system passes a whole structure with this signal; of one that somebody sent, the
    // address means nothing, and is not used.
    let (is_fault, address) = unsafe { ((*info).si_code > 0, (*info).si_addr() as usize) };
    // SAFETY: null, or set by `during`, which keeps its `Watch` borrowed until it is null again.
    let watch = unsafe { AT_HAND.get().as_ref() };
    let is_ours = |watch: &&Watch| is_fault && address.wrapping_sub(watch.start) < watch.len;
    if let Some(watch) = watch.filter(is_ours) {
        watch.broken.store(true, Ordering::SeqCst);
        if put_zeros(address) {
            return; // the copy goes on
        }
    }
    pass_on(signal, info, context, is_fault);
}

/// Puts a page of zeros over the one that has this address.
fn put_zeros(address: usize) -> bool {
    // SAFETY: a question to the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let place = (address / page * page) as *mut libc::c_void;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: the page is part of a mapping that the thread interrupted here is copying from: it is
    // mapped, it is read only, and nobody holds a reference to it.
    let put = unsafe { libc::mmap(place, page, libc::PROT_READ, flags, -1, 0) };
    put != libc::MAP_FAILED
}

/// Does what would have been done without us.
fn pass_on(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
    is_fault: bool,
) {
    let Some(before) = BEFORE.get() else { return };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_IGN && !is_fault {
        return; // somebody sent it; it is ignored as before, and the next fault is still ours
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // A fault is met again right after this and ends the process, which the system does even
        // where SIGBUS is ignored. A signal that somebody sent is no fault, and is sent again.
        // SAFETY: `before` is what the system said; `raise` may be called by a handler.
        unsafe {
            libc::sigaction(signal, before, null_mut());
            libc::raise(signal);
        }
    } else if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: the system said that this is the address of such a function.
        let handler = unsafe { std::mem::transmute::<usize, Full>(handler) };
        handler(signal, info, context);
    } else {
        type Short = extern "C" fn(libc::c_int);
        // SAFETY: as above; without SA_SIGINFO it takes the signal alone.
        let handler = unsafe { std::mem::transmute::<usize, Short>(handler) };
        handler(signal);
    }
}
