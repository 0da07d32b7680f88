//! A server inside a program: it answers from its opening to its end, and says how it ended.

use alexnet_serve::{Error, Images, Options, Server};
use data::Fake;
use evaluate::Stop;
use inference::{Model, device::Placement, example};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tensor::Choice;

/// The example network, to be served at `address`.
fn open(address: &str, among: usize) -> Result<Server, Error> {
    let folder = example::folder();
    let model = Model::open(&folder, &mut |_| ()).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let mut options = Options::default();
    (options.listen, options.among) = (Some(address.to_string()), among);
    (options.workers, options.way_in) = (1, "knock".to_string());
    let placement = Placement { device: Choice::Cpu, threads: 1, precision: None };
    Server::open(model, "tiny".to_string(), placement, options, &mut |text| panic!("{text}"))
}

/// The status and the body of an answer.
fn ask(address: SocketAddr, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn fake() -> Images {
    Images { train: Arc::new(Fake::new(40, 8, 2)), test: Arc::new(Fake::new(6, 8, 2)) }
}

#[test]
fn it_answers_until_it_is_stopped() {
    let server = open("127.0.0.1:0", 20).unwrap();
    assert_eq!((server.name(), server.model().classes().len()), ("tiny", 2));
    assert!(server.model().weights.parameters.is_empty(), "the device has them");
    let (address, stop) = (server.address(), Stop::new());
    let (notes, heard) = mpsc::channel();
    let serving = std::thread::spawn({
        let stop = stop.clone();
        let note = move |text: &str| notes.send(text.to_string()).unwrap();
        move || server.run(|| Ok(fake()), note, &stop)
    });
    let note = heard.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(note, "neighbours are searched among 20 training images");
    let (status, about) = get(address, "/about");
    assert_eq!((status, &about["run"], &about["model"]), (200, &"tiny".into(), &"tiny".into()));
    assert_eq!((&about["test_images"], &about["neighbours"]["done"]), (&6.into(), &20.into()));
    assert_eq!(get(address, "/test-images/5").1["of"], 6);
    assert_eq!(get(address, "/test-images/6").0, 404);
    let (status, refused) = ask(address, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert!(status == 403 && refused["error"].as_str().unwrap().ends_with("or knock"), "{refused}");
    stop.request(15);
    assert_eq!(serving.join().unwrap().unwrap(), 15);
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

#[test]
fn images_that_cannot_be_opened_cost_the_neighbours_only() {
    for (among, told) in [(0, "no images of its run: gone"), (20, "no neighbours: gone")] {
        let server = open("127.0.0.1:0", among).unwrap();
        let (address, stop) = (server.address(), &Stop::new());
        let (notes, heard) = mpsc::channel();
        std::thread::scope(|scope| {
            let note = move |text: &str| notes.send(text.to_string()).unwrap();
            let images = || Err("gone".to_string());
            let serving = scope.spawn(move || server.run(images, note, stop));
            assert_eq!(heard.recv_timeout(Duration::from_secs(60)).unwrap(), told);
            while get(address, "/about").1["neighbours"]["state"] != "failed" {
                std::thread::sleep(Duration::from_millis(5));
            }
            let (status, answer) = get(address, "/test-images/0");
            assert_eq!((status, &answer["error"]), (404, &"gone".into()));
            assert_eq!(get(address, "/health").0, 200);
            stop.request(2);
            assert_eq!(serving.join().unwrap().unwrap(), 2);
        });
    }
}

#[test]
fn an_address_that_cannot_be_had_is_told() {
    let error = open("everywhere", 0).err().unwrap();
    assert!(matches!(error, Error::Address { .. }), "{error:?}");
    let expected =
        "everywhere: needs an address and a port, as in 127.0.0.1:8080 or [::1]:8080".to_string();
    assert_eq!(error.to_string(), expected);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = open(&address, 0).err().unwrap();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("{address}: cannot listen there: ")), "{error}");
}
