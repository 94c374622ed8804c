// The reference server for uploads in pieces, made to wait for its disk: node tus_server.mjs NODE_MODULES PORT FOLDER
import fs from 'node:fs/promises'
import http from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, port, folder] = process.argv.slice(2)
const require = createRequire(`${modules}/index.js`)
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { Server } = await load('@tus/server')
const { FileStore } = await load('@tus/file-store')

class SafeStore extends FileStore {
  async write(body, id, offset) {
    const written = await super.write(body, id, offset)
    const file = await fs.open(`${folder}/${id}`, 'r+')
    await file.datasync()
    await file.close()
    return written
  }
}

const server = new Server({ path: '/files', datastore: new SafeStore({ directory: folder }) })
http.createServer(server.handle.bind(server)).listen(Number(port), '127.0.0.1')
