import process from "node:process";
process.stdout.write(`{"hello": "${process.version}"}\n`);
