//! Steady collectives allocate nothing. Alone in this file, because allocations of all threads are
//! counted.

use alexnet_comm::{Comm, Handle, Local};
use std::sync::Barrier;
use std::thread;
use tensor::{DType, Device, Planner, Shape};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn collectives_allocate_nothing() {
    const WORLD: usize = 3;
    let (begin, end) = (Barrier::new(WORLD + 1), Barrier::new(WORLD + 1));
    let mut world = Local::world(WORLD, Local::TIMEOUT);
    // Each rank has at most two steps' messages under way: a rank that is further ahead waits.
    world[0].reserve(2 * 4 * WORLD * WORLD, 3000);
    let during = thread::scope(|scope| {
        for comm in world {
            let (begin, end) = (&begin, &end);
            scope.spawn(move || steps(comm, begin, end));
        }
        begin.wait(); // every rank has what it needs
        let during = testkit::allocations_during(|| {
            begin.wait();
            end.wait();
        });
        end.wait();
        during
    });
    assert_eq!(during, 0);
}

fn steps(mut comm: Local, begin: &Barrier, end: &Barrier) {
    let mut planner = Planner::new();
    let [x, y] = [3000, 1000].map(|len| planner.claim(DType::F32, Shape::from([len])));
    let z = planner.claim(DType::F32, Shape::from([3000]));
    let mut device = Device::cpu(1);
    device.reserve(planner.total()).unwrap();
    device.enter(|_| ()); // its threads have begun
    let mut step = || {
        let wait = |comm: &mut Local, device: &mut Device, handle: Handle| {
            comm.wait(device, handle).unwrap();
        };
        let sum = comm.all_reduce(&mut device, z).unwrap();
        let scattered = comm.reduce_scatter(&mut device, x, y).unwrap();
        wait(&mut comm, &mut device, sum);
        wait(&mut comm, &mut device, scattered);
        let gathered = comm.all_gather(&mut device, y, x).unwrap();
        wait(&mut comm, &mut device, gathered);
        let all = comm.barrier(&mut device).unwrap();
        wait(&mut comm, &mut device, all);
    };
    (0..3).for_each(|_| step()); // locks settle, and each thread's own memory
    begin.wait();
    begin.wait();
    (0..20).for_each(|_| step());
    end.wait();
    end.wait(); // nothing is dropped while allocations are counted
}
