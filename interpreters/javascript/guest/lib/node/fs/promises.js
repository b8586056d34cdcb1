import fs from 'sandpool:node/fs';

export default fs.promises;
