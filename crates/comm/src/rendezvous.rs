//! How processes that torchrun or Slurm started find each other, without MPI.
//!
//! Rank 0 listens where the launcher says; the others come, each says who it is, and when all have
//! come each is given the same few bytes: what they need to go on by other means. Whoever does not
//! speak this language, or speaks slowly, is left standing and holds up nobody.

mod launch;
#[cfg(test)]
mod tests;

pub use launch::Launch;

use crate::{Error, Result};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that can be handed round.
pub const MOST: usize = 4096;

/// What every message begins with; the last byte is the version of what follows.
const MAGIC: [u8; 8] = *b"alexnet\x01";
/// After the magic: rank and world.
const HELLO: usize = 16;
/// After the magic: 0 and a length, or 1 and nothing: whoever came is not expected.
const ANSWER: usize = 16;
/// Strangers that may stand at the door at once.
const AT_THE_DOOR: usize = 64;
/// Between two looks at the door, or two knocks.
const NAP: Duration = Duration::from_millis(2);
/// How long one knock may take.
const KNOCK: Duration = Duration::from_secs(2);

/// Meets all ranks of a launch, and hands `given` from rank 0 to everybody. Waits for `timeout` at
/// most.
///
/// # Errors
/// [`Error::Rendezvous`], in one sentence: who has not come, or that rank 0 is not there.
///
/// # Panics
/// If more than [`MOST`] bytes are given.
pub fn meet(launch: &Launch, given: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    assert!(given.len() <= MOST, "{} bytes to hand round", given.len());
    match launch.rank {
        _ if launch.world == 1 => Ok(given.to_vec()),
        0 => receive(listen(launch)?, launch, given, timeout).map(|()| given.to_vec()),
        _ => visit(launch, timeout),
    }
}

fn listen(launch: &Launch) -> Result<TcpListener> {
    let Launch { host, port, .. } = launch;
    // The named address alone, if it is one of this machine's; behind a relay it may not be.
    let listener = TcpListener::bind((&host[..], *port)).or_else(|error| match error.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
        _ => TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))),
    });
    listener.map_err(|error| {
        sentence(format!(
            "rank 0 cannot listen on {host}:{port} ({error}); another MASTER_PORT may be free"
        ))
    })
}

/// Somebody who came, and what has been read of what they say.
struct Guest {
    stream: TcpStream,
    hello: [u8; HELLO],
    read: usize,
}

/// What became of a guest.
enum Heard {
    Speaking,
    Rank(usize),
    Gone,
    Unexpected(String),
}

fn receive(listener: TcpListener, launch: &Launch, given: &[u8], timeout: Duration) -> Result<()> {
    let failed = |error: io::Error| sentence(format!("rank 0 cannot listen any more: {error}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let began = Instant::now();
    let mut door: Vec<Guest> = Vec::new();
    let mut inside: Vec<Option<TcpStream>> = (0..launch.world).map(|_| None).collect();
    let mut turned_away = String::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                if door.len() == AT_THE_DOOR {
                    door.remove(0); // the one who has stood there longest
                }
                door.push(Guest { stream, hello: [0; HELLO], read: 0 });
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(NAP),
            Err(_) => thread::sleep(NAP), // one who left again, or no descriptor is free
        }
        let mut at = 0;
        while at < door.len() {
            match door[at].listen_to(launch.world, &inside) {
                Heard::Speaking => at += 1,
                Heard::Gone => drop(door.swap_remove(at)),
                Heard::Rank(rank) => inside[rank] = Some(door.swap_remove(at).stream),
                Heard::Unexpected(who) => {
                    turned_away = format!(" ({who} was turned away)");
                    let _ = answer(&door.swap_remove(at).stream, 1, &[]); // if it still listens
                }
            }
        }
        // Who went away again, or was killed and started anew, may come back.
        for place in &mut inside {
            place.take_if(|stream| has_left(stream));
        }
        if inside[1..].iter().all(Option::is_some) {
            break;
        }
        if began.elapsed() >= timeout {
            let missing: Vec<String> = (1..launch.world)
                .filter(|&rank| inside[rank].is_none())
                .map(|r| r.to_string())
                .collect();
            return Err(sentence(format!(
                "of {} ranks {} has not come to {}:{} within {} s{turned_away}; were all started, \
                 and can they reach it?",
                launch.world,
                missing.join(", "),
                launch.host,
                launch.port,
                timeout.as_secs_f64()
            )));
        }
    }
    for (rank, stream) in
        inside.iter().enumerate().filter_map(|(rank, s)| Some((rank, s.as_ref()?)))
    {
        answer(stream, 0, given)
            .map_err(|error| sentence(format!("rank {rank} came and went again ({error})")))?;
    }
    Ok(())
}

impl Guest {
    /// Reads what has come, without waiting.
    fn listen_to(&mut self, world: usize, inside: &[Option<TcpStream>]) -> Heard {
        while self.read < HELLO {
            match self.stream.read(&mut self.hello[self.read..]) {
                Ok(0) => return Heard::Gone,
                Ok(bytes) => self.read += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Heard::Speaking,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
            let known = self.read.min(MAGIC.len());
            if self.hello[..known] != MAGIC[..known] {
                return Heard::Gone; // says something else: no answer
            }
        }
        let [rank, theirs] = [number(&self.hello, 8), number(&self.hello, 12)];
        match inside.get(rank) {
            _ if theirs != world => {
                Heard::Unexpected(format!("rank {rank} of a world of {theirs}"))
            }
            Some(None) if rank > 0 => Heard::Rank(rank),
            _ => Heard::Unexpected(format!("a second rank {rank}")),
        }
    }
}

/// Whether the other side of a connection, which has nothing more to say, has closed it.
fn has_left(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

fn answer(mut stream: &TcpStream, kind: u32, bytes: &[u8]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(KNOCK))?;
    let mut message = Vec::with_capacity(ANSWER + bytes.len());
    message.extend(MAGIC);
    message.extend(kind.to_le_bytes());
    message.extend((bytes.len() as u32).to_le_bytes());
    message.extend(bytes);
    stream.write_all(&message)
}

/// Goes to rank 0, again and again until it is there, and waits for what it hands out.
fn visit(launch: &Launch, timeout: Duration) -> Result<Vec<u8>> {
    let Launch { rank, world, host, port, .. } = launch;
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let why = match knock(launch, left) {
            Ok(given) => return given,
            Err(error) => error,
        };
        if began.elapsed() >= timeout {
            return Err(sentence(format!(
                "rank {rank} of {world} got no answer from rank 0 at {host}:{port} within {} s \
                 ({why}); was rank 0 started, and do MASTER_ADDR and MASTER_PORT name its host?",
                timeout.as_secs_f64()
            )));
        }
        thread::sleep(25 * NAP);
    }
}

/// Once: an error that another attempt may mend, or else what became of it.
fn knock(launch: &Launch, left: Duration) -> io::Result<Result<Vec<u8>>> {
    let addresses = (&launch.host[..], launch.port).to_socket_addrs()?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, KNOCK) {
            Ok(stream) => return introduce(stream, launch, left),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn introduce(
    mut stream: TcpStream,
    launch: &Launch,
    left: Duration,
) -> io::Result<Result<Vec<u8>>> {
    stream.set_write_timeout(Some(KNOCK))?;
    stream.set_read_timeout(Some(left.max(NAP)))?;
    let mut hello = [0; HELLO];
    hello[..8].copy_from_slice(&MAGIC);
    hello[8..12].copy_from_slice(&(launch.rank as u32).to_le_bytes());
    hello[12..].copy_from_slice(&(launch.world as u32).to_le_bytes());
    stream.write_all(&hello)?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer)?;
    let [kind, len] = [number(&answer, 8), number(&answer, 12)];
    if answer[..8] != MAGIC || kind > 1 || len > MOST {
        return Err(io::Error::new(ErrorKind::InvalidData, "somebody else listens there"));
    }
    if kind == 1 {
        let Launch { rank, world, host, port, .. } = launch;
        return Ok(Err(sentence(format!(
            "rank 0 at {host}:{port} does not expect rank {rank} of {world}: another run listens \
             there, or a rank was started twice"
        ))));
    }
    let mut given = vec![0; len];
    stream.read_exact(&mut given)?;
    Ok(Ok(given))
}

fn number(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_le_bytes(bytes) as usize
}

fn sentence(text: String) -> Error {
    Error::Rendezvous(text)
}
