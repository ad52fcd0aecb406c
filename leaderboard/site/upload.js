"use strict";
// Sends an archive in parts and tells what the worker says. The token is read from its field and kept nowhere else.

const PART_BYTES = 1024 * 1024;
const KINDS = { ".zip": "zip", ".tar": "tar", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar.zst": "tar.zst" };

const form = document.getElementById("form");
const state = document.getElementById("state");
const bar = document.getElementById("sent");
const checks = document.getElementById("checks");

async function ask(token, path, options = {}) {
    const headers = { ...options.headers, Authorization: `Bearer ${token}` };
    const answer = await fetch(path, { ...options, headers });
    if (!answer.ok) {
        const problem = await answer.json();
        throw new Error(`${problem.title}: ${problem.detail}`);
    }
    return answer;
}

function kindOf(name) {
    const end = Object.keys(KINDS).find((each) => name.toLowerCase().endsWith(each));
    if (!end) {
        throw new Error(`${name} is no archive that is taken here; expected ${Object.keys(KINDS).join(", ")}`);
    }
    return KINDS[end];
}

async function announce(token, file) {
    const hashed = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    const sha256 = [...hashed].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const body = { request: sha256, kind: kindOf(file.name), size_bytes: file.size, sha256 };
    const headers = { "Content-Type": "application/json" };
    return (await ask(token, "/v1/uploads", { method: "POST", headers, body: JSON.stringify(body) })).json();
}

async function send(token, file, upload) {
    bar.hidden = false;
    while (upload.state === "receiving") {
        const start = upload.received_bytes;
        const part = file.slice(start, start + PART_BYTES);
        const options = { method: "PATCH", headers: { "Upload-Offset": String(start) }, body: part };
        upload = await (await ask(token, `/v1/uploads/${upload.id}`, options)).json();
        bar.value = upload.received_bytes / upload.size_bytes;
    }
    return upload;
}

async function follow(token, upload) {
    const events = (await ask(token, `/v1/uploads/${upload.id}/events`)).body.pipeThrough(new TextDecoderStream());
    let text = "";
    for (const reader = events.getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) {
            return;
        }
        const told = (text + value).split("\n\n");
        text = told.pop();
        for (const line of told.flatMap((each) => each.split("\n")).filter((each) => each.startsWith("data: "))) {
            show(JSON.parse(line.slice("data: ".length)));
        }
    }
}

function show(upload) {
    state.textContent = upload.progress.startsWith(upload.state) ? upload.progress : `${upload.state}: ${upload.progress}`;
    const lines = (upload.report?.checks ?? []).map((check) => {
        const line = document.createElement("li");
        line.textContent = `${check.name}: ${check.status}: ${check.detail}`;
        return line;
    });
    checks.replaceChildren(...lines);
}

form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const [token, file] = [form.elements.token.value.trim(), form.elements.archive.files[0]];
    button.disabled = true;
    try {
        state.textContent = "reading the archive";
        const upload = await send(token, file, await announce(token, file));
        show(upload);
        await follow(token, upload);
    } catch (error) {
        state.textContent = `${error.message}. Upload goes on where it stopped.`;
    } finally {
        button.disabled = false;
    }
});
