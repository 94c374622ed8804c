// The reference server for uploads in pieces, made to wait for its disk: node tus_server.mjs NODE_MODULES PORT FOLDER [bytes]
// An upload outlives a crash when its bytes, what is known of it and the names of both do. `bytes` waits for the bytes alone.
import fs from 'node:fs/promises'
import http from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, port, folder, only] = process.argv.slice(2)
const require = createRequire(`${modules}/index.js`)
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { Server } = await load('@tus/server')
const { FileStore } = await load('@tus/file-store')

async function sync(path, mode) {
  const file = await fs.open(path, mode)
  await file.datasync()
  await file.close()
}

class SafeStore extends FileStore {
  async create(upload) {
    const created = await super.create(upload)
    if (only !== 'bytes') {
      await sync(`${folder}/${upload.id}.json`, 'r+')
      await sync(folder, 'r')
    }
    return created
  }

  async write(body, id, offset) {
    const written = await super.write(body, id, offset)
    await sync(`${folder}/${id}`, 'r+')
    return written
  }
}

const server = new Server({ path: '/files', datastore: new SafeStore({ directory: folder }) })
http.createServer(server.handle.bind(server)).listen(Number(port), '127.0.0.1')
