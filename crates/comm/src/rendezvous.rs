//! A rendezvous of processes that torchrun or Slurm started, without MPI.
//!
//! Rank 0 listens on the launcher's address. The others connect and send their rank; once all are
//! connected, rank 0 sends the same few bytes to each, with which they can set up NCCL. Connections
//! that are slow or do not follow the protocol do not delay the ranks.

mod launch;
#[cfg(test)]
mod tests;

pub use launch::Launch;

use crate::{Error, Result};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// The maximum number of bytes that can be broadcast.
pub const MAX_BYTES: usize = 4096;

/// The start of every message; the last byte is the version of the protocol.
const MAGIC: [u8; 8] = *b"alexnet\x01";
/// The length of the first message: magic, rank and world.
const HELLO: usize = 16;
/// The length of the reply: magic, then 0 and a length, or 1 and 0 if the rank is not expected.
const REPLY: usize = 16;
/// The maximum number of connections that have not sent their rank yet.
const MAX_PENDING: usize = 64;
/// The interval between polls.
const NAP: Duration = Duration::from_millis(2);
/// The timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(2);

/// Connects all ranks of a launch, and broadcasts `given` from rank 0. Waits at most for `timeout`.
///
/// # Errors
/// [`Error::Rendezvous`] with the ranks that are missing, or if rank 0 does not answer.
///
/// # Panics
/// If `given` has more than [`MAX_BYTES`] bytes.
pub fn broadcast(launch: &Launch, given: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    assert!(given.len() <= MAX_BYTES, "{} bytes to broadcast", given.len());
    match launch.rank {
        _ if launch.world == 1 => Ok(given.to_vec()),
        0 => accept_all(listen(launch)?, launch, given, timeout).map(|()| given.to_vec()),
        _ => connect(launch, timeout),
    }
}

fn listen(launch: &Launch) -> Result<TcpListener> {
    let Launch { host, port, .. } = launch;
    // Only on this address if it is this machine's; behind a relay it may be another's.
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

/// A connection that has not sent its whole first message.
struct Pending {
    stream: TcpStream,
    hello: [u8; HELLO],
    read: usize,
}

/// The state of a connection after reading from it.
enum Progress {
    Incomplete,
    Rank(usize),
    Closed,
    Unexpected(String),
}

fn accept_all(
    listener: TcpListener,
    launch: &Launch,
    given: &[u8],
    timeout: Duration,
) -> Result<()> {
    let failed = |error: io::Error| sentence(format!("rank 0 cannot listen any more: {error}"));
    listener.set_nonblocking(true).map_err(failed)?;
    let began = Instant::now();
    let mut pending: Vec<Pending> = Vec::new();
    let mut ranks: Vec<Option<TcpStream>> = (0..launch.world).map(|_| None).collect();
    let mut refused = String::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() => {
                if pending.len() == MAX_PENDING {
                    pending.remove(0); // the oldest
                }
                pending.push(Pending { stream, hello: [0; HELLO], read: 0 });
            }
            Ok(_) => {}
            // Nothing to accept, a connection that was closed again, or no free descriptor.
            Err(_) => thread::sleep(NAP),
        }
        let mut at = 0;
        while at < pending.len() {
            match pending[at].read(launch.world, &ranks) {
                Progress::Incomplete => at += 1,
                Progress::Closed => drop(pending.swap_remove(at)),
                Progress::Rank(rank) => ranks[rank] = Some(pending.swap_remove(at).stream),
                Progress::Unexpected(which) => {
                    refused = format!(" ({which} was refused)");
                    let _ = reply(&pending.swap_remove(at).stream, 1, &[]); // it may be closed
                }
            }
        }
        // A rank that was killed and started again may connect again.
        for rank in &mut ranks {
            rank.take_if(|stream| is_closed(stream));
        }
        if ranks[1..].iter().all(Option::is_some) {
            break;
        }
        if began.elapsed() >= timeout {
            let missing: Vec<String> = (1..launch.world)
                .filter(|&rank| ranks[rank].is_none())
                .map(|r| r.to_string())
                .collect();
            return Err(sentence(format!(
                "of {} ranks {} has not connected to {}:{} within {} s{refused}; were all \
                 started, and can they reach it?",
                launch.world,
                missing.join(", "),
                launch.host,
                launch.port,
                timeout.as_secs_f64()
            )));
        }
    }
    for (rank, stream) in ranks.iter().enumerate().filter_map(|(rank, s)| Some((rank, s.as_ref()?)))
    {
        reply(stream, 0, given)
            .map_err(|error| sentence(format!("rank {rank} has disconnected ({error})")))?;
    }
    Ok(())
}

impl Pending {
    /// Reads the available bytes, without blocking.
    fn read(&mut self, world: usize, ranks: &[Option<TcpStream>]) -> Progress {
        while self.read < HELLO {
            match self.stream.read(&mut self.hello[self.read..]) {
                Ok(0) => return Progress::Closed,
                Ok(bytes) => self.read += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Incomplete,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Progress::Closed,
            }
            let known = self.read.min(MAGIC.len());
            if self.hello[..known] != MAGIC[..known] {
                return Progress::Closed; // another protocol
            }
        }
        let [rank, theirs] = [number(&self.hello, 8), number(&self.hello, 12)];
        match ranks.get(rank) {
            _ if theirs != world => {
                Progress::Unexpected(format!("rank {rank} of a world of {theirs}"))
            }
            Some(None) if rank > 0 => Progress::Rank(rank),
            _ => Progress::Unexpected(format!("a second rank {rank}")),
        }
    }
}

/// Whether the other side has closed a connection; a connected rank sends nothing more.
fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

fn reply(mut stream: &TcpStream, kind: u32, bytes: &[u8]) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(CONNECT))?;
    let mut message = Vec::with_capacity(REPLY + bytes.len());
    message.extend(MAGIC);
    message.extend(kind.to_le_bytes());
    message.extend((bytes.len() as u32).to_le_bytes());
    message.extend(bytes);
    stream.write_all(&message)
}

/// Connects to rank 0, repeatedly until it listens, and waits for its bytes.
fn connect(launch: &Launch, timeout: Duration) -> Result<Vec<u8>> {
    let Launch { rank, world, host, port, .. } = launch;
    let began = Instant::now();
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let why = match try_connect(launch, left) {
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

/// One attempt. An `io::Error` may be temporary; the inner result is final.
fn try_connect(launch: &Launch, left: Duration) -> io::Result<Result<Vec<u8>>> {
    let addresses = (&launch.host[..], launch.port).to_socket_addrs()?;
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
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
    stream.set_write_timeout(Some(CONNECT))?;
    stream.set_read_timeout(Some(left.max(NAP)))?;
    let mut hello = [0; HELLO];
    hello[..8].copy_from_slice(&MAGIC);
    hello[8..12].copy_from_slice(&(launch.rank as u32).to_le_bytes());
    hello[12..].copy_from_slice(&(launch.world as u32).to_le_bytes());
    stream.write_all(&hello)?;
    let mut reply = [0; REPLY];
    stream.read_exact(&mut reply)?;
    let [kind, len] = [number(&reply, 8), number(&reply, 12)];
    if reply[..8] != MAGIC || kind > 1 || len > MAX_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "another program listens there"));
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
