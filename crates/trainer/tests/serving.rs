//! The page's server: what it answers, what it refuses, what it bears, how it ends.
#![cfg(unix)]

mod program;

use program::server::{Server, read};
use program::{Scratch, coloured, expect, last_line};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

/// A run, and two of its images.
struct Run {
    scratch: Scratch,
    path: String,
    green: Vec<u8>,
    red: Vec<u8>,
}

fn run(name: &str) -> Run {
    let scratch = Scratch::new(name);
    let data = coloured(&scratch, &["a"]);
    let image = |name: &str| fs::read(format!("{data}/{name}")).unwrap();
    let (green, red) = (image("train/green/3.png"), image("val/red/0.png"));
    Run { path: scratch.path("a"), scratch, green, red }
}

/// The bytes of a `data:` address.
fn png(address: &Value) -> Vec<u8> {
    let code = address.as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let code = code.trim_end_matches('=').as_bytes();
    let bytes = code.chunks(4).flat_map(|four| {
        let word = four.iter().fold(0u32, |word, &letter| word << 6 | u32::from(value(letter)));
        let word = word << (6 * (4 - four.len()));
        word.to_be_bytes().into_iter().skip(1).take(four.len() - 1)
    });
    bytes.collect()
}

fn size_of(png_file: &[u8]) -> (u32, u32) {
    let info = png::Decoder::new(std::io::Cursor::new(png_file)).read_info().unwrap();
    (info.info().width, info.info().height)
}

/// Red, green and blue of every pixel.
fn pixels(png_file: &[u8]) -> Vec<u8> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png_file));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    bytes.truncate(info.buffer_size());
    bytes
}

#[test]
fn the_name_is_the_run_s_where_a_checkpoint_is_used() {
    let run = run("serve-checkpoint");
    fs::remove_file(format!("{}/weights.safetensors", run.path)).unwrap();
    let server = Server::start(&[&run.path]);
    assert_eq!(server.get("/about").json()["run"], "a");
}

#[test]
fn it_says_what_the_other_verbs_say_and_shows_what_is_inside() {
    let run = run("serve-answers");
    let server = Server::start(&[&run.path]);
    let page = server.get("/");
    assert!(page.status == 200 && page.text().contains("Drop an image here"), "{page:?}");
    for line in [
        "content-type: text/html; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; script-src 'self'",
    ] {
        assert!(page.head.contains(line), "{line}: {}", page.head);
    }
    assert!(!page.head.contains("access-control"), "no other site may read this");
    assert!(server.get("/page.css").text().contains("prefers-color-scheme: dark"));
    assert!(server.get("/page.js").head.contains("text/javascript"));
    let head = server.send("HEAD", "/", "", b"");
    assert!(head.status == 200 && head.body.is_empty());

    // The probabilities are predict's to the last digit.
    let image = run.scratch.path("image.png");
    fs::write(&image, &run.red).unwrap();
    let (said, _) = expect(0, &["predict", &image, "--run", &run.path, "--top", "2", "--json"]);
    let answer = server.post("/predict?top=2", &run.red);
    assert_eq!((answer.status, &answer.json()["top"]), (200, &last_line(&said)["top"]));
    assert_eq!(answer.json()["image"]["width"], 20);
    assert!(answer.json().get("maps").is_none() && answer.json().get("neighbours").is_none());

    let about = server.wait_for_neighbours();
    assert_eq!(about["maps"], serde_json::json!(["conv1"]));
    assert_eq!((&about["test_images"], &about["neighbours"]["of"]), (&12.into(), &24.into()));
    let all = server.post("/predict?neighbours=3&maps=yes&pictures=yes", &run.green).json();
    let nearest = all["neighbours"]["nearest"].as_array().unwrap();
    assert_eq!((nearest.len(), &nearest[0]["class"]), (3, &"green".into()), "{all}");
    assert!(nearest[0]["distance"].as_f64().unwrap() < 1e-3, "itself: {}", nearest[0]);
    assert_eq!(all["neighbours"]["layer"], "fc2");
    assert_eq!(nearest[0]["name"], "3.png", "no folder of this machine's");
    assert_eq!(size_of(&png(&nearest[0]["picture"])), (12, 12));
    assert_eq!(size_of(&png(&all["image"]["seen"])), (12, 12));
    let conv1 = &all["maps"][0];
    assert_eq!((&conv1["layer"], &conv1["columns"]), (&"conv1".into(), &4.into()));
    assert_eq!(size_of(&png(&conv1["picture"])), (4 * 13 + 1, 2 * 13 + 1));
    let largest = conv1["largest"].as_array().unwrap();
    assert!(largest.len() == 8 && largest.iter().all(|x| x.as_f64().unwrap() >= 0.0), "rectified");

    // A test image comes back as it was stored, and is seen as it is by eval.
    let test = server.get("/test-images/8").json();
    assert_eq!((&test["of"], &test["class"]), (&12.into(), &"red".into()), "{test}");
    assert_eq!(size_of(&png(&test["picture"])), (14, 14));
    assert_eq!(server.post("/predict", &png(&test["picture"])).status, 200);
    assert_eq!(
        server.get("/test-images/12").error(),
        "there are 12 test images, the first is number 0"
    );
    assert_eq!(server.end("INT"), Some(130));
}

#[test]
fn predictions_are_explained_as_by_the_command() {
    let run = run("serve-explains");
    let server = Server::start(&[&run.path, "--among", "0"]);
    let methods = ["grad-cam", "saliency", "occlusion"];
    assert_eq!(server.get("/about").json()["explanations"], serde_json::json!(methods));
    let plain = server.post("/predict?pictures=yes", &run.red).json();
    assert!(plain.get("explained").is_none(), "{plain}");
    let all = server.post("/predict?pictures=yes&explain=yes", &run.red).json();
    let explained = &all["explained"];
    let top = &all["top"][0];
    assert_eq!((&explained["class"], &explained["layer"]), (&top["class"], &"relu1".into()));
    assert_eq!(explained["probability"], top["probability"]);
    let pictures = explained["pictures"].as_array().unwrap();
    assert_eq!(pictures.iter().map(|one| &one["method"]).collect::<Vec<_>>(), methods);

    // The command writes the same pixels, in colours of five bits a channel.
    let image = run.scratch.path("red.png");
    fs::write(&image, &run.red).unwrap();
    let out = run.scratch.path("explained");
    expect(0, &["explain", &image, "--run", &run.path, "--out", &out, "--batch-size", "1"]);
    for (method, picture) in methods.iter().zip(pictures) {
        let file = png(&picture["picture"]);
        let written = fs::read(format!("{out}/1-red-{method}.png")).unwrap();
        assert_eq!((size_of(&file), size_of(&written)), ((12, 12), (12, 12)));
        let (ours, theirs) = (pixels(&file), pixels(&written));
        let near = ours.iter().zip(&theirs).all(|(a, b)| a.abs_diff(*b) <= 8);
        assert!(ours.len() == theirs.len() && near, "{method}: {ours:?} {theirs:?}");
        let alone = server.post(&format!("/explain?method={method}"), &run.red);
        assert!(alone.head.contains("content-type: image/png"), "{}", alone.head);
        assert_eq!(alone.body, file, "{method}");
    }
    let other = server.post("/explain?method=saliency&class=blue", &run.red);
    let given = server.post("/predict?explain=yes&class=blue", &run.red).json();
    assert_eq!(given["explained"]["class"], "blue");
    assert_eq!(png(&given["explained"]["pictures"][1]["picture"]), other.body);
    assert_ne!(other.body, png(&pictures[1]["picture"]));

    for (path, status, told) in [
        ("/explain?method=cam", 400, "must be one of grad-cam, saliency, occlusion"),
        ("/explain?class=pink", 400, "class=pink: the network has no such class"),
        ("/predict?explain=yes&class=a%20b", 400, "class=a b: the network has no such class"),
        ("/predict?class=red", 400, "with explain=yes only"),
    ] {
        let answer = server.post(path, &run.red);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.error().contains(told), "{path}: {}", answer.text());
    }
    assert_eq!(server.post("/explain", b"hello").status, 422);
    assert_eq!(server.get("/explain").status, 405);
    assert_eq!(server.end("INT"), Some(130));

    let server = Server::start(&[&run.path, "--among", "0", "--no-explanations"]);
    assert_eq!(server.get("/about").json()["explanations"], serde_json::json!([]));
    for path in ["/explain", "/predict?explain=yes"] {
        let answer = server.post(path, &run.red);
        assert_eq!(answer.status, 501, "{}", answer.text());
        assert!(answer.error().contains("started without them"), "{}", answer.text());
    }
    assert_eq!(server.post("/predict", &run.red).status, 200);
}

#[test]
fn each_bad_request_is_told_what_is_wrong() {
    let run = run("serve-bad");
    let server = Server::start(&[&run.path, "--among", "0"]);
    let expect = |answer: program::server::Answer, status: u16, told: &str| {
        assert_eq!(answer.status, status, "{told}: {}", answer.text());
        assert!(answer.error().contains(told), "{told}: {}", answer.text());
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    };
    expect(server.post("/predict", b"hello"), 422, "a text, not an image that can be decoded");
    expect(server.post("/predict", b"GIF89a.."), 422, "incomplete GIF");
    expect(server.post("/predict", &run.red[..40]), 422, "incomplete PNG");
    expect(server.post("/predict", b"\xFF\xD8\xFF\xE0\x00"), 422, "incomplete JPEG");
    expect(server.post("/predict", b""), 400, "there is no image");
    expect(server.post("/predict?top=x", &run.red), 400, "top=x: must be a number");
    expect(server.post("/predict?tpo=3", &run.red), 400, "tpo: unknown parameter");
    expect(server.get("/pictures"), 404, "there is no /pictures, only");
    expect(server.get("/../etc/passwd"), 404, "there is no");
    expect(server.get("/test-images/x"), 404, "use a number");
    let wrong = server.get("/predict");
    assert!(wrong.head.contains("allow: post"), "{}", wrong.head);
    expect(wrong, 405, "use the method POST");
    expect(server.send("DELETE", "/about", "", b""), 405, "GET");
    expect(server.send("OPTIONS", "/predict", "", b""), 405, "POST");

    // A picture that would take gigabytes is refused by its header.
    let mut vast = run.red.clone();
    vast[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x20, 0]);
    expect(server.post("/predict", &vast), 422, "16384 x 8192 is more than 64 megapixels");

    // Names that lead here but are not this server's; pages of other sites.
    let named = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in ["example.com", "example.com:8080", "127.0.0.1.example.com", "10.1.2.3"] {
        expect(
            server.say(named(host).as_bytes()).unwrap(),
            403,
            "is not what this server is called",
        );
    }
    expect(
        server.say(b"GET http://example.com/ HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap(),
        403,
        "example.com",
    );
    assert_eq!(server.say(named("localhost:9000").as_bytes()).unwrap().status, 200);
    expect(server.say(b"GET / HTTP/1.1\r\n\r\n").unwrap(), 400, "names no host");
    for origin in ["https://example.com", "null"] {
        let answer = server.send("POST", "/predict", &format!("Origin: {origin}\r\n"), &run.red);
        if origin == "null" {
            assert_eq!(answer.status, 403, "{}", answer.text());
        } else {
            expect(answer, 403, "pages of https://example.com cannot");
        }
    }
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(server.send("POST", "/predict", &own, &run.red).status, 200);

    // Too large: said at once if so much is announced, or after all has come, or in pieces.
    let announced =
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n";
    expect(server.say(announced).unwrap(), 413, "larger than 32 MiB");
    let waits = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\
                  Expect: 100-continue\r\n\r\n";
    expect(server.say(waits).unwrap(), 413, "larger than 32 MiB");
    expect(server.post("/predict", &vec![7; (32 << 20) + 1]), 413, "larger than 32 MiB");
    let piece = [b"100000\r\n".as_slice(), &vec![7; 1 << 20], b"\r\n"].concat();
    let chunked =
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let pieces = [chunked.as_slice(), &piece.repeat(33), b"0\r\n\r\n"].concat();
    expect(server.say(&pieces).unwrap(), 413, "larger than 32 MiB");

    // What is no HTTP at all, and that all of this did no harm.
    let garbage = server.say(b"\x16\x03\x01 hello\r\n\r\n");
    assert!(garbage.is_none_or(|answer| answer.status == 400));
    let endless = server.say(&[b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat());
    assert!(endless.is_none_or(|answer| answer.status == 431 || answer.status == 400));
    let good = server.post("/predict?neighbours=2", &run.red).json();
    assert_eq!(good["neighbours"]["state"], "off");
    assert_eq!(server.end("TERM"), Some(143));
}

#[test]
fn slow_and_broken_clients_do_not_block_others() {
    let run = run("serve-slow");
    let server = Server::start(&[&run.path, "--patience", "1"]);
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        run.red.len()
    );
    let half = [head.as_bytes(), &run.red[..run.red.len() / 2]].concat();
    // One that stops in its head, one that stops in its image, one that ends there.
    let began = Instant::now();
    let mut slow_head = server.connect();
    slow_head.write_all(b"POST /predict HTTP/1.1\r\nHo").unwrap();
    let mut slow_body = server.connect();
    slow_body.write_all(&half).unwrap();
    let mut broken = server.connect();
    broken.write_all(&half).unwrap();
    broken.shutdown(Shutdown::Write).unwrap();
    let broken = read(broken);
    assert!(broken.as_ref().is_none_or(|answer| answer.status == 400), "{broken:?}");
    let slow_body = read(slow_body).expect("an answer");
    assert_eq!(slow_body.status, 408, "{slow_body:?}");
    assert!(slow_body.error().contains("the upload took more than 1 s"), "{slow_body:?}");
    assert!(read(slow_head).is_none_or(|answer| answer.status == 408));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    // Three times as many as are served together say nothing; who comes then gets through.
    let idle: Vec<_> = (0..48).map(|_| server.connect()).collect();
    let began = Instant::now();
    assert_eq!(server.post("/predict", &run.red).status, 200);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    drop(idle);
    assert_eq!(server.end("INT"), Some(130));
}

/// A form as curl sends it: each file's name and bytes.
fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(b"--b0undary--\r\n");
    body
}

#[test]
fn a_form_has_one_image_or_several() {
    let run = run("serve-forms");
    let server = Server::start(&[&run.path, "--among", "0"]);
    let head = "Content-Type: multipart/form-data; boundary=b0undary\r\n";
    let send = |body: &[u8]| server.send("POST", "/predict?top=2", head, body);
    let alone = [&run.green, &run.red].map(|image| server.post("/predict?top=2", image).json());

    let one = send(&form(&[("red.png", &run.red)]));
    assert_eq!((one.status, one.json()), (200, alone[1].clone()));
    let two = send(&form(&[("green.png", &run.green), ("/pictures/red.png", &run.red)]));
    assert_eq!(two.status, 200, "{}", two.text());
    let mut expected = alone.clone();
    expected[0]["file"] = "green.png".into();
    expected[1]["file"] = "red.png".into();
    assert_eq!(two.json(), Value::from(expected.to_vec()));
    let most = send(&form(&[("a.png", run.green.as_slice()); 32]));
    assert_eq!(most.json().as_array().unwrap().len(), 32);

    let refused = |body: &[u8], status: u16, told: &str| {
        let answer = send(body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.error().contains(told), "{told}: {}", answer.text());
    };
    refused(&form(&[("a.png", &run.green), ("b.png", b"hello")]), 422, "image 2 of the form, `b");
    refused(&form(&[("a.png", run.green.as_slice()); 33]), 413, "more than 32 images");
    refused(&form(&[]), 400, "there is no image");
    refused(&form(&[("a.png", &run.green)])[..200], 400, "the form cannot be read");
    let text = b"--b0undary\r\nContent-Disposition: form-data; name=\"top\"\r\n\r\n3\r\n\
                 --b0undary--";
    refused(text, 400, "`top` in the form is not a file");
    let large = form(&[("a.png", &vec![7; 33 << 20])]);
    refused(&large, 413, "larger than 32 MiB");
    let mixed = "Content-Type: multipart/mixed; boundary=b0undary\r\n";
    let mixed = server.send("POST", "/predict", mixed, &form(&[("a.png", &run.green)]));
    assert!(mixed.status == 415 && mixed.error().contains("multipart/form-data"), "{mixed:?}");

    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &"ok".into()));
    assert_eq!(server.get("/about").json()["limits"]["images"], 32);
    assert_eq!(server.end("TERM"), Some(143));
}

#[test]
fn many_silent_clients_do_not_delay_others() {
    let run = run("serve-idle");
    let server = Server::start(&[&run.path, "--among", "0"]);
    let served = |what: &str| {
        let began = Instant::now();
        assert_eq!(server.get("/health").status, 200, "{what}");
        assert_eq!(server.post("/predict", &run.red).status, 200, "{what}");
        assert!(began.elapsed() < Duration::from_secs(5), "{what}: {:?}", began.elapsed());
    };
    served("alone");
    let idle: Vec<_> = (0..150).map(|_| server.connect()).collect();
    served("150 that say nothing");
    let begun = |text: &str| {
        let mut stream = server.connect();
        let _ = stream.write_all(text.as_bytes());
        stream
    };
    let heads: Vec<_> = (0..150).map(|_| begun("POST /predict HTTP/1.1\r\nHo")).collect();
    served("150 that stop in their heads");
    let text = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc";
    let bodies: Vec<_> = (0..150).map(|_| begun(text)).collect();
    served("150 that stop in their images");
    drop((idle, heads, bodies));
    served("alone again");
    assert_eq!(server.end("INT"), Some(130));
}

#[test]
fn requests_at_the_same_time_do_not_meet() {
    let run = run("serve-many");
    let server = Server::start(&[&run.path]);
    server.wait_for_neighbours();
    let path = "/predict?neighbours=4&maps=yes&pictures=yes";
    let images = [&run.green, &run.red];
    let expected = images.map(|image| server.post(path, image).json());
    assert_ne!(expected[0], expected[1]);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (server, expected) = (&server, &expected);
            scope.spawn(move || {
                for turn in 0..10 {
                    let which = (thread + turn) % 2;
                    let answer = server.post(path, images[which]);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(answer.json() == expected[which], "thread {thread}, turn {turn}");
                }
            });
        }
    });
}

#[test]
fn it_ends_with_the_programs_exit_codes() {
    let scratch = Scratch::new("serve-ends");
    coloured(&scratch, &["a"]);
    let run = scratch.path("a");
    let (_, stderr) = expect(4, &["serve", &scratch.path("nothing")]);
    assert!(stderr.contains("nothing"), "{stderr}");
    let (_, stderr) = expect(2, &["serve", &run, "--listen", "everywhere"]);
    assert!(stderr.contains("needs an address and a port"), "{stderr}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (address.to_string(), taken)).unwrap();
    let (_, stderr) = expect(1, &["serve", &run, "--listen", &taken.0]);
    assert!(stderr.contains("cannot listen there"), "{stderr}");
    expect(2, &["serve", &run, "--patience", "0"]);

    // Images that are gone cost the neighbours, not the page.
    fs::rename(scratch.path("data"), scratch.path("moved")).unwrap();
    let server = Server::start(&[&run]);
    let patience = Instant::now();
    let about = loop {
        let about = server.get("/about").json();
        if about["neighbours"]["state"] == "failed" || patience.elapsed().as_secs() > 30 {
            break about;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(about["neighbours"]["why"].as_str().unwrap().contains("data"), "{about}");
    assert_eq!(server.get("/test-images/0").status, 404);
    let image = fs::read(format!("{}/val/red/0.png", scratch.path("moved"))).unwrap();
    let said = server.post("/predict?neighbours=3", &image).json();
    assert_eq!(
        (said["top"].as_array().unwrap().len(), &said["neighbours"]["state"]),
        (3, &"failed".into())
    );
}
