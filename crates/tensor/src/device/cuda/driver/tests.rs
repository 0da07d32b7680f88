use super::*;
use cuda_on_cpu::Behaviour;

/// A driver may read ordinary memory after the call that names it has returned.
#[test]
fn a_write_is_over_when_it_returns() {
    let stand_in = match cuda_on_cpu::load() {
        Ok(stand_in) => stand_in,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    for late_reads in [false, true] {
        stand_in.behave(Behaviour { late_reads, ..Behaviour::default() });
        let context = Context::of(&find(0).unwrap()).unwrap();
        let stream = Stream::new(&context).unwrap();
        let memory = Memory::new(&context, 64).unwrap();
        let mut host = vec![7u8; 64];
        // SAFETY: the memory has as many bytes, here and below.
        unsafe { stream.write(memory.base(), &host) }.unwrap();
        host.fill(1);
        let mut back = [0u8; 64];
        // SAFETY: as above.
        unsafe { stream.read(memory.base(), &mut back) }.unwrap();
        assert_eq!(back, [7; 64]);
    }
}
