//! `stratum decode`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use stratum_inspect::{
    CaptureError, CaptureOptions, HexReader, KeyLog, Printer, Summary, decode_capture, decode_stream, is_capture,
};

/// What to decode. Without bytes and file, hexadecimal text from standard input.
#[derive(Debug, clap::Args)]
pub struct DecodeArgs {
    /// Frames in hexadecimal, one after the other
    #[arg(value_name = "HEX", conflicts_with = "file")]
    hex: Vec<String>,
    /// A file: a capture (pcap or pcapng), or the bytes that one side of a plain connection sent; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Keys of encrypted connections in a capture, as a role with its option debug_key_log writes them
    #[arg(long, value_name = "FILE", requires = "file", conflicts_with = "hex")]
    key_log: Option<PathBuf>,
    /// Of a capture, only connections with this port
    #[arg(long, value_name = "PORT", requires = "file", conflicts_with = "hex")]
    port: Option<u16>,
    /// Shows long byte strings and lists whole, not only their beginning
    #[arg(long)]
    all: bool,
}

/// Prints the messages. Status 1 when something could not be decoded, or when there was nothing to decode.
pub fn run(args: &DecodeArgs) -> ExitCode {
    let out = BufWriter::new(io::stdout().lock());
    let mut printer = Printer::new(out);
    if args.all {
        printer = printer.show_all();
    }
    let decoded = decode(args, &mut printer);
    let flushed = printer.into_inner().flush();
    match decoded.and_then(|summary| flushed.map(|()| summary).map_err(Into::into)) {
        Ok(Summary { messages: 0, errors: 0, .. }) => failed(&"no message found"),
        Ok(Summary { errors: 0, .. }) => ExitCode::SUCCESS,
        Ok(Summary { errors: 1, .. }) => failed(&"1 place could not be decoded"),
        Ok(Summary { errors, .. }) => failed(&format!("{errors} places could not be decoded")),
        // Whoever read the text has seen enough.
        Err(CaptureError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(what: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("stratum decode: {what}");
    ExitCode::FAILURE
}

fn decode<W: Write>(args: &DecodeArgs, printer: &mut Printer<W>) -> Result<Summary, CaptureError> {
    let Some(file) = &args.file else {
        let text = args.hex.join(" ");
        let summary = match args.hex.is_empty() {
            false => decode_stream(HexReader::new(text.as_bytes()), printer),
            true => decode_stream(HexReader::new(io::stdin().lock()), printer),
        };
        return Ok(summary?);
    };
    let keys = match &args.key_log {
        Some(path) => KeyLog::read(BufReader::new(open(path)?)).map_err(|error| named(path, error))?,
        None => KeyLog::default(),
    };
    let input: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin().lock()) } else { Box::new(open(file)?) };
    let mut input = BufReader::new(input);
    let mut start = Vec::new();
    input.by_ref().take(4).read_to_end(&mut start)?;
    let whole = (&start[..]).chain(input);
    if is_capture(&start) {
        return decode_capture(whole, &CaptureOptions { port: args.port, keys }, printer);
    }
    Ok(decode_stream(whole, printer)?)
}

fn open(path: &Path) -> io::Result<File> {
    File::open(path).map_err(|error| named(path, error))
}

/// An error with the file that it is about.
fn named(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
