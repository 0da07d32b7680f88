use super::*;
use std::net::{Shutdown, SocketAddr};
use std::thread::JoinHandle;

const TIMEOUT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// A free port.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(rank: usize, world: usize, port: u16) -> Launch {
    Launch { rank, world, local: rank, host: "127.0.0.1".to_string(), port }
}

/// A rank on its own thread, which starts after `late`.
fn rank(launch: Launch, late: Duration, timeout: Duration) -> JoinHandle<Result<Vec<u8>>> {
    thread::spawn(move || {
        thread::sleep(late);
        let given: &[u8] = if launch.rank == 0 { b"where and how" } else { b"" };
        broadcast(&launch, given, timeout)
    })
}

/// A connection that sends `says`; it stays open until it is dropped.
fn stranger(port: u16, says: &[u8]) -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let began = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(mut stream) => {
                stream.write_all(says).unwrap();
                return stream;
            }
            Err(_) if began.elapsed() < TIMEOUT => thread::sleep(NAP),
            Err(error) => panic!("{error}"),
        }
    }
}

fn launch_of(variables: &[(&str, &str)]) -> Result<Option<Launch>> {
    Launch::from_variables(&|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_string())
    })
}

#[test]
fn all_ranks_get_the_bytes_in_any_order() {
    for late in [[0, 30, 60, 0], [90, 0, 0, 30]] {
        let port = free_port();
        let ranks = (0..4).map(|number| {
            rank(launch(number, 4, port), Duration::from_millis(late[number]), TIMEOUT)
        });
        let ranks: Vec<_> = ranks.collect();
        for rank in ranks {
            assert_eq!(rank.join().unwrap().unwrap(), b"where and how");
        }
    }
    assert_eq!(broadcast(&launch(0, 1, 1), b"alone", SHORT).unwrap(), b"alone");
}

#[test]
fn foreign_connections_do_not_delay_ranks() {
    let port = free_port();
    let first = rank(launch(0, 2, port), Duration::ZERO, TIMEOUT);
    let mut silent: Vec<_> = (0..MAX_PENDING + 5).map(|_| stranger(port, b"")).collect();
    silent.push(stranger(port, b"GET / HTTP/1.1\r\n\r\n"));
    silent.push(stranger(port, &MAGIC[..5])); // and never the rest
    drop(stranger(port, &[0xFF; 3]));
    // This program, but another number of ranks: it gets a reply.
    let mut hello = MAGIC.to_vec();
    hello.extend([1, 0, 0, 0, 9, 0, 0, 0]);
    let mut other = stranger(port, &hello);
    let mut reply = [0; REPLY];
    other.read_exact(&mut reply).unwrap();
    assert_eq!((&reply[..8], reply[8]), (&MAGIC[..], 1));

    let began = Instant::now();
    let second = rank(launch(1, 2, port), Duration::ZERO, TIMEOUT);
    assert_eq!(second.join().unwrap().unwrap(), b"where and how");
    assert_eq!(first.join().unwrap().unwrap(), b"where and how");
    assert!(began.elapsed() < TIMEOUT / 4, "{:?}", began.elapsed());
}

#[test]
fn a_rank_that_was_killed_may_connect_again() {
    let port = free_port();
    let first = rank(launch(0, 3, port), Duration::ZERO, TIMEOUT);
    let mut hello = MAGIC.to_vec();
    hello.extend([1, 0, 0, 0, 3, 0, 0, 0]);
    stranger(port, &hello).shutdown(Shutdown::Both).unwrap();
    let others = [1, 2].map(|n| rank(launch(n, 3, port), Duration::from_millis(100), TIMEOUT));
    for rank in others {
        assert_eq!(rank.join().unwrap().unwrap(), b"where and how");
    }
    assert!(first.join().unwrap().is_ok());
}

#[test]
fn missing_ranks_are_named() {
    let port = free_port();
    let timeout = Duration::from_secs(3); // enough for two threads on a loaded machine
    let ranks = [0, 2].map(|number| rank(launch(number, 4, port), Duration::ZERO, timeout));
    let [zero, two] = ranks.map(|rank| rank.join().unwrap().unwrap_err().to_string());
    let begins = format!(
        "the ranks cannot connect: of 4 ranks 1, 3 has not connected to 127.0.0.1:{port} within \
         3 s"
    );
    assert!(zero.starts_with(&begins), "{zero}");
    assert!(two.contains("rank 2 of 4 got no answer from rank 0"), "{two}");
}

#[test]
fn a_missing_or_foreign_listener_is_reported() {
    let port = free_port();
    let error = broadcast(&launch(1, 2, port), b"", SHORT).unwrap_err().to_string();
    assert!(
        error.contains("rank 1 of 2 got no answer") && error.contains("MASTER_ADDR"),
        "{error}"
    );
    // Another program replies.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let other = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&[b'x'; 100]);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        listener // keeps the port open
    });
    let error = broadcast(&launch(1, 2, port), b"", SHORT).unwrap_err().to_string();
    assert!(error.contains("got no answer"), "{error}");
    drop(other.join().unwrap());
    // A second rank 0 finds the port taken.
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = broadcast(&launch(0, 2, port), b"", SHORT).unwrap_err().to_string();
    assert!(
        error.contains("cannot listen on 127.0.0.1") && error.contains("MASTER_PORT"),
        "{error}"
    );
}

#[test]
fn a_second_process_of_a_rank_is_refused_at_once() {
    let port = free_port();
    let first = rank(launch(0, 3, port), Duration::ZERO, Duration::from_secs(2));
    let one = rank(launch(1, 3, port), Duration::ZERO, TIMEOUT);
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    let again = broadcast(&launch(1, 3, port), b"", TIMEOUT).unwrap_err().to_string();
    assert!(again.contains("does not expect rank 1 of 3"), "{again}");
    assert!(began.elapsed() < TIMEOUT / 4);
    assert!(broadcast(&launch(2, 3, port), b"", TIMEOUT).is_ok());
    assert!(first.join().unwrap().is_ok() && one.join().unwrap().is_ok());
}

#[test]
fn variables_of_torchrun_and_slurm_are_read() {
    let torchrun = [
        ("RANK", "3"),
        ("WORLD_SIZE", "4"),
        ("LOCAL_RANK", "1"),
        ("MASTER_ADDR", "host-a"),
        ("MASTER_PORT", "29500"),
    ];
    let expected = |port| Launch { rank: 3, world: 4, local: 1, host: "host-a".into(), port };
    assert_eq!(launch_of(&torchrun).unwrap(), Some(expected(29500)));
    let agent = [&torchrun[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
    assert_eq!(launch_of(&agent).unwrap(), Some(expected(29501)));
    let both = [&torchrun[..], &[("SLURM_PROCID", "0"), ("SLURM_STEP_NODELIST", "x")]].concat();
    assert_eq!(
        launch_of(&both).unwrap(),
        Some(expected(29500)),
        "torchrun inside a job of Slurm's"
    );

    let slurm = |nodes| {
        let variables = [
            ("SLURM_PROCID", "9"),
            ("SLURM_NTASKS", "16"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_JOB_ID", "4012345"),
            ("SLURM_STEP_NODELIST", nodes),
        ];
        launch_of(&variables).map(|launch| launch.map(|launch| (launch.host, launch.port)))
    };
    let port = 20_000 + (4_012_345 % 12_000) as u16;
    for (nodes, first) in [
        ("gpu7", "gpu7"),
        ("gpu7,gpu9", "gpu7"),
        ("gpu[07-09,12]", "gpu07"),
        ("gpu[3,5],cpu[1-2]", "gpu3"),
        ("rack[2-3]-ib,x", "rack2-ib"),
    ] {
        assert_eq!(slurm(nodes).unwrap(), Some((first.to_string(), port)), "{nodes}");
    }
    for nodes in ["", "[", "gpu[1-", "gpu[1-2][0-3]"] {
        assert!(slurm(nodes).is_err(), "{nodes}");
    }
}

#[test]
fn incomplete_variables_are_errors() {
    assert_eq!(launch_of(&[]).unwrap(), None);
    // A batch script, outside srun.
    assert_eq!(launch_of(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]).unwrap(), None);
    assert_eq!(launch_of(&[("RANK", "0"), ("WORLD_SIZE", "1")]).unwrap(), None);
    assert_eq!(launch_of(&[("RANK", "another program's variable")]).unwrap(), None);
    let error = |variables: &[(&str, &str)]| launch_of(variables).unwrap_err().to_string();
    assert!(error(&[("RANK", "0"), ("WORLD_SIZE", "2")]).contains("has not set LOCAL_RANK"));
    let two = [("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")];
    assert!(error(&two).contains("has not set MASTER_ADDR"));
    let address = [&two[..], &[("MASTER_ADDR", "a")]].concat();
    assert!(error(&address).contains("has not set MASTER_PORT"));
    let odd = [&address[..], &[("MASTER_PORT", "70000")]].concat();
    assert!(error(&odd).contains("MASTER_PORT=70000 is not what a launcher sets"));
    let odd = [("RANK", "2"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")];
    assert!(error(&odd).contains("RANK=2, WORLD_SIZE=2"));
    assert!(error(&[("RANK", "-1"), ("WORLD_SIZE", "2")]).contains("RANK=-1"));
}
