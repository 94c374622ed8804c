"""Small files of many kinds, made here."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

OFFICE = "application/vnd.openxmlformats-officedocument."
PAGE = b"<script>alert(1)</script>"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"


def zipped(*names: str, first: bytes = b"") -> bytes:
    """`first`: what the first entry holds, stored as it is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names):
            how = zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), b"content" if number else first, how)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def iso(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + brand + b"isom" + bytes(64)


def ebml(kind: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x93\x42\x82" + bytes([0x80 + len(kind)]) + kind + bytes(64)


PROGRAM = b"MZ" + bytes(58) + struct.pack("<I", 128) + bytes(64) + b"PE\x00\x00\x64\x86" + bytes(200)

# content → media type, without a word from the sender
KNOWN: list[tuple[bytes, str]] = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(60), "image/jpeg"),
    (b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + bytes(60), "image/gif"),
    (b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(60), "image/webp"),
    (b"BM" + bytes(60), "image/bmp"),
    (iso(b"avif"), "image/avif"),
    (iso(b"heic"), "image/heic"),
    (iso(b"isom"), "video/mp4"),
    (iso(b"qt  "), "video/quicktime"),
    (iso(b"3gp5"), "video/3gpp"),
    (iso(b"M4A "), "audio/mp4"),
    (ebml(b"webm"), "video/webm"),
    (ebml(b"matroska"), "video/x-matroska"),
    (b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60), "audio/wav"),
    (b"ID3\x03" + bytes(60), "audio/mpeg"),
    (b"\xff\xfb\x90\x64" + bytes(60), "audio/mpeg"),
    (b"fLaC\x00\x00\x00\x22" + bytes(60), "audio/flac"),
    (b"OggS\x00\x02" + bytes(22) + b"\x01\x1e\x01vorbis" + bytes(60), "audio/ogg"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
    (b"\n\n junk \n%PDF-1.7\n", "application/pdf"),
    (b"{\\rtf1\\ansi hello}", "application/rtf"),
    (zipped("a.txt"), "application/zip"),
    (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), f"{OFFICE}wordprocessingml.document"),
    (zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), f"{OFFICE}spreadsheetml.sheet"),
    (zipped("_rels/.rels", "ppt/presentation.xml"), f"{OFFICE}presentationml.presentation"),
    (
        zipped("mimetype", "content.xml", first=b"application/vnd.oasis.opendocument.text"),
        "application/vnd.oasis.opendocument.text",
    ),
    (zipped("mimetype", "META-INF/container.xml", first=b"application/epub+zip"), "application/epub+zip"),
    (zipped("mimetype", first=b"text/html"), "application/zip"),
    (zipped("META-INF/MANIFEST.MF", "A.class"), "application/java-archive"),
    (zipped("AndroidManifest.xml"), "application/vnd.android.package-archive"),
    (gzip.compress(b"x", mtime=0), "application/gzip"),
    (bz2.compress(b"x"), "application/x-bzip2"),
    (lzma.compress(b"x"), "application/x-xz"),
    (tarred(), "application/x-tar"),
    (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(60), "application/x-7z-compressed"),
    (b"Rar!\x1a\x07\x01\x00" + bytes(60), "application/vnd.rar"),
    (b"\x7fELF\x02\x01\x01" + bytes(60), "application/x-executable"),
    (PROGRAM, "application/vnd.microsoft.portable-executable"),
    (b"\xca\xfe\xba\xbe\x00\x00\x00\x34" + bytes(60), "application/java-vm"),
    (b"\xca\xfe\xba\xbe\x00\x00\x00\x02" + bytes(60), "application/x-mach-binary"),
    (b"\x00asm\x01\x00\x00\x00", "application/wasm"),
    (b"SQLite format 3\x00" + bytes(60), "application/vnd.sqlite3"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "application/x-ole-storage"),
    (b"<!DOCTYPE html><p>hello", "text/html"),
    (b"\n\t <!-- a --><HTML>", "text/html"),
    (PAGE, "text/html"),
    (b"\xef\xbb\xbf<body onload=x>", "text/html"),
    ("\ufeff<html>".encode("utf-16-le"), "text/html"),
    ("\ufeff <html>".encode("utf-16-be"), "text/html"),
    (b"<html>%PDF-1.4", "text/html"),
    (b"<p>%PDF-1.4", "text/html"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    (b'<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE svg PUBLIC "x" "y">\n<svg/>', "image/svg+xml"),
    (b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a "b">]><s:svg/>', "image/svg+xml"),
    (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml"),
    (b'<?xml version="1.0"?><a/>', "application/xml"),
    (b"#!/bin/sh\n", "text/x-shellscript"),
    (b"<?php system('x');", "text/x-php"),
    (b"@echo off\r\n", "text/x-msdos-batch"),
    (b"hello", "text/plain"),
    ("Grüße, 東京".encode(), "text/plain"),
    (("ä" * 3000).encode()[:4095], "text/plain"),
    (b"BMW and MZ are makers of motorcycles; GIF89a is none", "text/plain"),
    (b"<3 is a heart", "text/plain"),
    (b"hello \xff\xfe", "application/octet-stream"),
    (b"", "application/octet-stream"),
    (bytes(100), "application/octet-stream"),
]
